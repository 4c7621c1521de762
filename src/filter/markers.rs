//! The markers with which models separate reasoning and tool calls from their answers, by model family.
//!
//! Sources: the chat templates and parsers of the families, as vLLM and Ollama read them; openai/harmony for gpt-oss;
//! LangChain's and CrewAI's output parsers for ReAct.

/// What a hidden span contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Thinking.
    Reasoning,
    /// A tool call, its arguments, or its result.
    Tool,
}

/// An opening marker and the markers that close its span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The opening marker.
    pub open: String,
    /// The closing markers. Without any, the span extends to the end of the text.
    pub close: Vec<String>,
    /// What the span contains.
    pub kind: Kind,
    /// Where the opening marker is recognised.
    pub place: Place,
    /// The markers are tags: case and white space in them do not matter.
    pub is_tag: bool,
}

/// Where an opening marker is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Anywhere outside a code fence: no text contains it by chance.
    Anywhere,
    /// Before the answer begins, or at the start of a line outside a code fence.
    LineStart,
    /// Only before the answer begins.
    TextStart,
}

/// A family of markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Command R and A.
    Cohere,
    /// DeepSeek's tool markers, which contain full-width bars.
    Deepseek,
    /// `FunctionGemma`.
    FunctionGemma,
    /// Gemma 4.
    Gemma,
    /// Granite 3.
    Granite,
    /// gpt-oss.
    Harmony,
    /// LFM2.
    Lfm,
    /// Mistral, Magistral.
    Mistral,
    /// Tags that prompts commonly tell a model to use.
    Prompt,
    /// `Thought:`, `Action:`, `Observation:`, `Final Answer:`.
    React,
    /// `<think>` and `<seed:think>`.
    Think,
    /// `<tool_call>`.
    ToolCall,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 12] = [
        Self::Cohere,
        Self::Deepseek,
        Self::FunctionGemma,
        Self::Gemma,
        Self::Granite,
        Self::Harmony,
        Self::Lfm,
        Self::Mistral,
        Self::Prompt,
        Self::React,
        Self::Think,
        Self::ToolCall,
    ];

    /// Returns the word used in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cohere => "cohere",
            Self::Deepseek => "deepseek",
            Self::FunctionGemma => "function_gemma",
            Self::Gemma => "gemma",
            Self::Granite => "granite",
            Self::Harmony => "harmony",
            Self::Lfm => "lfm",
            Self::Mistral => "mistral",
            Self::Prompt => "prompt",
            Self::React => "react",
            Self::Think => "think",
            Self::ToolCall => "tool_call",
        }
    }

    /// Returns the family's pairs of markers. Harmony and `ReAct` have their own grammars (see [`super::scan`]).
    pub fn pairs(self) -> Vec<Pair> {
        use Kind::{Reasoning, Tool};
        use Place::{Anywhere, LineStart, TextStart};
        let tag = |kind, name: &str| Pair {
            open: format!("<{name}>"),
            close: vec![format!("</{name}>")],
            kind,
            place: LineStart,
            is_tag: true,
        };
        let pair = |kind, place, open: &str, close: &[&str]| Pair {
            open: open.to_owned(),
            close: close.iter().map(|mark| (*mark).to_owned()).collect(),
            kind,
            place,
            is_tag: false,
        };
        match self {
            Self::Cohere => vec![
                pair(
                    Reasoning,
                    Anywhere,
                    "<|START_THINKING|>",
                    &["<|END_THINKING|>"],
                ),
                pair(Tool, Anywhere, "<|START_ACTION|>", &["<|END_ACTION|>"]),
                pair(
                    Tool,
                    Anywhere,
                    "<|START_TOOL_RESULT|>",
                    &["<|END_TOOL_RESULT|>"],
                ),
            ],
            Self::Deepseek => {
                let mark = |word: &str| format!("<\u{ff5c}tool\u{2581}{word}\u{ff5c}>");
                ["calls", "outputs"]
                    .into_iter()
                    .map(|word| {
                        let (open, close) =
                            (format!("{word}\u{2581}begin"), format!("{word}\u{2581}end"));
                        pair(Tool, Anywhere, &mark(&open), &[&mark(&close)])
                    })
                    .collect()
            }
            Self::FunctionGemma => vec![pair(
                Tool,
                Anywhere,
                "<start_function_call>",
                &["<end_function_call>"],
            )],
            Self::Gemma => vec![
                pair(Reasoning, Anywhere, "<|channel>thought", &["<channel|>"]),
                pair(Tool, Anywhere, "<|tool_call>", &["<tool_call|>"]),
                pair(Tool, Anywhere, "<|tool_response>", &["<tool_response|>"]),
            ],
            Self::Granite => ["Here is", "Here's"]
                .into_iter()
                .map(|word| {
                    let open = format!("{word} my thought process:");
                    let close = ["Here is my response:", "Here's my response:"];
                    pair(Reasoning, TextStart, &open, &close)
                })
                .collect(),
            Self::Harmony | Self::React => Vec::new(),
            Self::Lfm => vec![pair(
                Tool,
                Anywhere,
                "<|tool_call_start|>",
                &["<|tool_call_end|>"],
            )],
            Self::Mistral => vec![
                pair(Reasoning, Anywhere, "[THINK]", &["[/THINK]"]),
                // Nothing follows a call, so it has no closing marker.
                pair(Tool, Anywhere, "[TOOL_CALLS]", &[]),
            ],
            Self::Prompt => {
                let reasoning = ["thinking", "reasoning", "scratchpad", "reflection"];
                let tools = [
                    "tool",
                    "tool_use",
                    "function_calls",
                    "invoke",
                    "tool_result",
                    "observation",
                ];
                let reasoning = reasoning.into_iter().map(|name| tag(Reasoning, name));
                let tools = tools.into_iter().map(|name| tag(Tool, name));
                reasoning.chain(tools).collect()
            }
            Self::Think => ["think", "seed:think"]
                .into_iter()
                .map(|name| tag(Reasoning, name))
                .collect(),
            // It is a single token in most vocabularies.
            Self::ToolCall => vec![Pair {
                place: Anywhere,
                ..tag(Tool, "tool_call")
            }],
        }
    }
}
