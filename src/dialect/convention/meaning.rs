//! The words of the conventions, and what each says of its event.

/// The meaning of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Done,
    Error,
    Heartbeat,
    /// The user is asked something.
    Interrupt,
    Reasoning,
    State,
    Status,
    /// There is a step, a node or an agent, or it begins.
    Step,
    /// A step, a node or an agent ends.
    StepEnd,
    Token,
    Tool,
    Usage,
    /// The whole answer.
    Whole,
}

/// Every known word is shorter.
const MAX_WORD_BYTES: usize = 24;

/// Returns what a word says of its event; `None` if it is no convention.
pub(super) fn meaning(word: &[u8]) -> Option<Meaning> {
    let mut buffer = [0_u8; MAX_WORD_BYTES];
    let normal = buffer.get_mut(..word.len())?;
    for (to, from) in normal.iter_mut().zip(word) {
        *to = match from {
            b'-' | b'.' => b'_',
            byte => byte.to_ascii_lowercase(),
        };
    }
    Some(match &*normal {
        b"token" | b"text" | b"delta" | b"chunk" | b"content" | b"text_delta"
        | b"message_chunk" | b"answer_delta" | b"llm_token" | b"stream" => Meaning::Token,
        b"reasoning" | b"thinking" | b"thought" | b"reasoning_delta" | b"thinking_delta" => {
            Meaning::Reasoning
        }
        b"tool"
        | b"tool_call"
        | b"tool_start"
        | b"tool_use"
        | b"tool_args"
        | b"tool_end"
        | b"tool_result"
        | b"tool_output"
        | b"tool_error"
        | b"tool_complete"
        | b"action"
        | b"observation"
        | b"function_call"
        | b"tool_started"
        | b"tool_call_start"
        | b"tool_call_started"
        | b"tool_call_end"
        | b"tool_call_result"
        | b"tool_call_completed"
        | b"tool_response"
        | b"tool_results"
        | b"tool_completed"
        | b"tool_finished"
        | b"tool_done"
        | b"function_result"
        | b"function_response" => Meaning::Tool,
        b"node" | b"node_start" | b"step" | b"step_started" | b"agent_start" | b"start"
        | b"node_started" | b"step_start" | b"agent_started" | b"agent_updated"
        | b"agent_switch" | b"agent_switched" | b"agent_change" | b"agent_changed"
        | b"agent_handoff" | b"handoff" | b"message_start" | b"message_started"
        | b"new_message" | b"turn_start" | b"turn_started" | b"iteration_start" | b"llm_start"
        | b"model_start" | b"task_start" | b"task_started" => Meaning::Step,
        b"node_end" | b"step_completed" | b"agent_end" | b"node_finished" | b"node_completed"
        | b"step_end" | b"step_finished" | b"step_complete" | b"agent_finished"
        | b"agent_completed" | b"message_end" | b"message_stop" | b"turn_end"
        | b"turn_completed" | b"iteration_end" | b"llm_end" | b"model_end" | b"task_end"
        | b"task_completed" | b"task_finished" => Meaning::StepEnd,
        b"status" | b"progress" | b"info" | b"metadata" | b"run_id" => Meaning::Status,
        b"state" | b"values" | b"update" | b"updates" => Meaning::State,
        b"interrupt" | b"approval" | b"approval_required" | b"human_input" | b"input_required" => {
            Meaning::Interrupt
        }
        b"message" | b"response" | b"answer" | b"final_answer" | b"output" | b"result" => {
            Meaning::Whole
        }
        b"usage" => Meaning::Usage,
        b"done" | b"end" | b"finish" | b"final" | b"complete" | b"completed" | b"stop" => {
            Meaning::Done
        }
        b"error" | b"exception" | b"failed" | b"fail" => Meaning::Error,
        b"ping" | b"heartbeat" | b"keepalive" | b"keep_alive" => Meaning::Heartbeat,
        _ => return None,
    })
}
