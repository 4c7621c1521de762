//! The live streams in a terminal: what is shown, and what each key does. Without I/O, which is in `command::top`.
//!
//! | file | what |
//! |---|---|
//! | `facts` | the document of `/streams`, as far as it is shown |
//! | `format` | times, sizes and counts in few characters |
//! | `model` | what the user has chosen, and what each key changes |
//! | `rows` | the rows of both lists |
//! | `style` | the styles |
//! | `view` | draws it all |

mod facts;
mod format;
mod model;
mod rows;
mod style;
mod view;

pub use facts::{Config, Ended, Endpoint, Facts, Memory, Recent, Reload, Stream, Upstream};
pub use model::{Action, List, Model, Sort, StopPrompt};
pub use view::draw;
