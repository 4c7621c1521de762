//! What a quiet translated stream holds: each of these lies in the heap once for each of them, as long as it lasts.
//!
//! What counts is the size class of the allocator, which gives out 112, 128, 160, 192, ... 512, 640, 768, ... bytes.
//! What few streams need belongs in a box that is made when it is needed.

use super::action::OpenText;
use super::writer::ag_ui::AgUi;
use super::writer::ai_sdk::AiSdk;
use super::writer::anthropic::Anthropic;
use super::writer::events::Events;
use super::writer::openai_chat::OpenAiChat;
use super::{Recorder, Translator, reading};
use crate::dialect::Dialect;

#[test]
fn a_quiet_stream_holds_little() {
    for (name, size, class) in [
        ("Translator", size_of::<Translator>(), 640),
        ("Recorder", size_of::<Recorder>(), 320),
        ("AgUi", size_of::<AgUi>(), 160),
        ("AiSdk", size_of::<AiSdk>(), 8),
        ("Anthropic", size_of::<Anthropic>(), 112),
        ("Events", size_of::<Events>(), 48),
        ("OpenAiChat", size_of::<OpenAiChat>(), 112),
        ("OpenText", size_of::<OpenText>(), 48),
    ] {
        assert!(size <= class, "{name}: {size} bytes, at most {class}");
    }
}

#[test]
fn no_reading_is_large() {
    for dialect in Dialect::ALL {
        let size = size_of_val(&*reading::of(dialect, b"{}"));
        assert!(size <= 192, "{dialect}: {size} bytes");
    }
}
