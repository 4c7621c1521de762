//! The markers with which models separate reasoning and tool calls from their answers, by model family.

mod pairs;

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
    /// How the markers are spelled.
    pub form: Form,
}

/// How the markers of a pair are spelled. Closing markers never have attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A tag that is a marker only with attributes: `<function` stands for `<function name="x">`.
    Attributes,
    /// Exactly as written.
    Exact,
    /// A tag: case and white space in it do not matter, and it may have attributes.
    Tag,
    /// A tag with a value: `<function=` stands for `<function=x>`.
    Value,
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
    /// Apertus.
    Apertus,
    /// Apriel.
    Apriel,
    /// Command R and A.
    Cohere,
    /// DeepSeek's and Step 3's tool markers, which contain full-width bars.
    Deepseek,
    /// `<function=name>` and `<function name="name">`, as Qwen-Coder, Llama 3.1 and `MiniCPM` write them.
    Function,
    /// `FunctionGemma`.
    FunctionGemma,
    /// Gemma 4.
    Gemma,
    /// `GigaChat`.
    Gigachat,
    /// Granite 3.
    Granite,
    /// gpt-oss, Muse Glimmer.
    Harmony,
    /// `InternLM` and Intern-S1.
    Internlm,
    /// Kimi K2, K3 and VL.
    Kimi,
    /// LFM2.
    Lfm,
    /// The built-in tools of Llama 3.
    Llama,
    /// Mistral, Magistral.
    Mistral,
    /// Phi-4-mini.
    Phi,
    /// Tags that prompts commonly tell a model to use.
    Prompt,
    /// `Thought:`, `Action:`, `Observation:`, `Final Answer:`.
    React,
    /// Solar Open 2.
    Solar,
    /// `<think>`, `<thought>`, and the same with a model's name.
    Think,
    /// `<tool_call>`, `<tool_calls>`, and the same with a model's name.
    ToolCall,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 21] = [
        Self::Apertus,
        Self::Apriel,
        Self::Cohere,
        Self::Deepseek,
        Self::Function,
        Self::FunctionGemma,
        Self::Gemma,
        Self::Gigachat,
        Self::Granite,
        Self::Harmony,
        Self::Internlm,
        Self::Kimi,
        Self::Lfm,
        Self::Llama,
        Self::Mistral,
        Self::Phi,
        Self::Prompt,
        Self::React,
        Self::Solar,
        Self::Think,
        Self::ToolCall,
    ];

    /// Returns the word used in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Apertus => "apertus",
            Self::Apriel => "apriel",
            Self::Cohere => "cohere",
            Self::Deepseek => "deepseek",
            Self::Function => "function",
            Self::FunctionGemma => "function_gemma",
            Self::Gemma => "gemma",
            Self::Gigachat => "gigachat",
            Self::Granite => "granite",
            Self::Harmony => "harmony",
            Self::Internlm => "internlm",
            Self::Kimi => "kimi",
            Self::Lfm => "lfm",
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Phi => "phi",
            Self::Prompt => "prompt",
            Self::React => "react",
            Self::Solar => "solar",
            Self::Think => "think",
            Self::ToolCall => "tool_call",
        }
    }

    /// Returns the family's pairs of markers. Harmony's headers and `ReAct` have their own grammars (see
    /// [`super::scan`]).
    pub fn pairs(self) -> Vec<Pair> {
        pairs::of(self)
    }
}
