//! What the tools that run on the server tell about themselves.

use super::of;
use crate::event::{Class, Content, Event, Side};

/// Returns the event of a tool that runs on the server. Such tools report their progress in events
/// named after them.
pub(super) fn event(kind: &[u8]) -> Option<Event> {
    let tools: [&[u8]; 10] = [
        b"apply_patch_call",
        b"code_interpreter_call",
        b"computer_call",
        b"custom_tool_call",
        b"file_search_call",
        b"function_call",
        b"image_generation_call",
        b"mcp_",
        b"shell_call",
        b"web_search_call",
    ];
    if !tools.iter().any(|tool| kind.starts_with(tool)) {
        return None;
    }
    let goes_on: [&[u8]; 4] = [
        b".in_progress",
        b".searching",
        b".interpreting",
        b".generating",
    ];
    Some(if goes_on.iter().any(|end| kind.ends_with(end)) {
        of(Class::Status, Content::Tool).on(Side::Tool)
    } else {
        of(Class::Tool, Content::Tool)
    })
}

/// Reports whether an item of this type is a call that the server leaves to whoever asked.
pub(super) fn leaves_the_call_to_others(item: &[u8]) -> bool {
    const THEIRS: [&[u8]; 6] = [
        b"apply_patch_call",
        b"computer_call",
        b"custom_tool_call",
        b"function_call",
        b"local_shell_call",
        b"shell_call",
    ];
    THEIRS.contains(&item)
}
