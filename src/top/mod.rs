//! The live streams in a terminal: what is shown, and what each key does. Without I/O, which is in `command::top`.
//!
//! | file | what |
//! |---|---|
//! | `facts` | the document of `/streams`, as far as it is shown |
//! | `model` | what the user has chosen, and what each key changes |
//! | `rows` | the rows of both lists |
//! | `style` | the styles |
//! | `view` | draws it all |
//! | `words` | times, sizes and counts in few characters |

mod facts;
mod model;
mod rows;
mod style;
mod view;
mod words;

pub use facts::{Config, Ended, Endpoint, Facts, Memory, Recent, Reload, Stream, Upstream};
pub use model::{Action, Asked, List, Model, Sort};
pub use view::draw;
