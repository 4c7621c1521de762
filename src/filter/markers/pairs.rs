//! The pairs of markers of each family, with their sources: chat templates, and the parsers of servers, which know what
//! models really write.
//!
//! Special tokens and tags with a model's name are recognised [`Anywhere`]. Tags whose names are words, which prose may
//! contain, are recognised only at a [`LineStart`].

use super::Form::{self, Attributes, Exact, Tag, Value};
use super::Kind::{self, Reasoning, Tool};
use super::Place::{self, Anywhere, LineStart, TextStart};
use super::{Family, Pair};
use Rows::{Pairs, Tags};

/// Pairs of markers with the same properties.
enum Rows {
    /// Opening and closing markers. An opening marker with several closing ones has a row for each. An empty closing
    /// marker stands for none: the span extends to the end of the text.
    Pairs(Kind, Place, Form, &'static [(&'static str, &'static str)]),
    /// The names of tags.
    Tags(Kind, Place, &'static [&'static str]),
}

/// Returns the pairs of a family.
pub(super) fn of(family: Family) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = Vec::new();
    for rows in rows(family) {
        match *rows {
            Pairs(kind, place, form, marks) => {
                for (open, close) in marks {
                    let close = Some((*close).to_owned()).filter(|mark| !mark.is_empty());
                    match pairs.last_mut() {
                        Some(last) if last.open == *open => last.close.extend(close),
                        _ => pairs.push(Pair {
                            open: (*open).to_owned(),
                            close: close.into_iter().collect(),
                            kind,
                            place,
                            form,
                        }),
                    }
                }
            }
            Tags(kind, place, names) => pairs.extend(names.iter().map(|name| Pair {
                open: format!("<{name}>"),
                close: vec![format!("</{name}>")],
                kind,
                place,
                form: Tag,
            })),
        }
    }
    pairs
}

const fn rows(family: Family) -> &'static [Rows] {
    match family {
        Family::Apertus => APERTUS,
        Family::Apriel => APRIEL,
        Family::Cohere => COHERE,
        Family::Deepseek => DEEPSEEK,
        Family::Function => FUNCTION,
        Family::FunctionGemma => FUNCTION_GEMMA,
        Family::Gemma => GEMMA,
        Family::Gigachat => GIGACHAT,
        Family::Granite => GRANITE,
        Family::Harmony => HARMONY,
        Family::Internlm => INTERNLM,
        Family::Kimi => KIMI,
        Family::Lfm => LFM,
        Family::Llama => LLAMA,
        Family::Mistral => MISTRAL,
        Family::Phi => PHI,
        Family::Prompt => PROMPT,
        // LangChain's and CrewAI's output parsers; see `react_text`.
        Family::React => &[],
        Family::Solar => SOLAR,
        Family::Think => THINK,
        Family::ToolCall => TOOL_CALL,
    }
}

/// llama.cpp chat-parser.cpp, SGLang apertus2509_detector.py.
const APERTUS: &[Rows] = &[
    Pairs(
        Reasoning,
        Anywhere,
        Exact,
        &[("<|inner_prefix|>", "<|inner_suffix|>")],
    ),
    Pairs(
        Tool,
        Anywhere,
        Exact,
        &[("<|tools_prefix|>", "<|tools_suffix|>")],
    ),
];

/// llama.cpp Apriel-1.6-15b-Thinker-fixed.jinja, which puts the opening words into the prompt.
const APRIEL: &[Rows] = &[Pairs(
    Reasoning,
    TextStart,
    Exact,
    &[("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]")],
)];

/// Ollama cohere.go, SGLang reasoning_parser.py.
const COHERE: &[Rows] = &[
    Pairs(
        Reasoning,
        Anywhere,
        Exact,
        &[("<|START_THINKING|>", "<|END_THINKING|>")],
    ),
    Pairs(
        Tool,
        Anywhere,
        Exact,
        &[
            ("<|START_ACTION|>", "<|END_ACTION|>"),
            ("<|START_TOOL_RESULT|>", "<|END_TOOL_RESULT|>"),
        ],
    ),
];

/// R1 to V3.1, with other spellings that models write: llama.cpp chat-parser.cpp, Ollama deepseek3.go and cogito.go.
/// Step 3: SGLang step3_detector.py. DSML: SGLang deepseekv32_detector.py (which also closes it without the prefix),
/// deepseekv4_detector.py, deepseekv41_detector.py.
const DEEPSEEK: &[Rows] = &[
    Pairs(
        Tool,
        Anywhere,
        Exact,
        &[
            ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
            ("<｜tool calls begin｜>", "<｜tool▁calls▁end｜>"),
            ("<｜tool\\_calls\\_begin｜>", "<｜tool▁calls▁end｜>"),
            ("<｜tool▁calls｜>", "<｜tool▁calls▁end｜>"),
            ("<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"),
            ("<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>"),
            ("<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>"),
            ("<｜tool_calls_begin｜>", "<｜tool_calls_end｜>"),
            ("<｜tool_calls_begin｜>", "<｜tool▁calls▁end｜>"),
            ("<｜tool_call_begin｜>", "<｜tool_call_end｜>"),
        ],
    ),
    Pairs(
        Tool,
        Anywhere,
        Tag,
        &[
            ("<｜DSML｜function_calls>", "</｜DSML｜function_calls>"),
            ("<｜DSML｜function_calls>", "</function_calls>"),
            ("<｜DSML｜tool_calls>", "</｜DSML｜tool_calls>"),
            ("<｜DSML｜calls>", "</｜DSML｜calls>"),
            ("<｜DSML｜invoke>", "</｜DSML｜invoke>"),
            ("<｜DSML｜invoke>", "</invoke>"),
        ],
    ),
];

/// Qwen-Coder, also without the `<tool_call>` around it: vLLM qwen3coder_tool_parser.py. Llama 3.1, Functionary,
/// Hermes: llama.cpp chat-parser.cpp. MiniCPM 5: SGLang minicpm5_detector.py.
const FUNCTION: &[Rows] = &[
    Pairs(Tool, LineStart, Value, &[("<function=", "</function>")]),
    Pairs(Tool, LineStart, Attributes, &[("<function", "</function>")]),
];

/// Ollama functiongemma.go.
const FUNCTION_GEMMA: &[Rows] = &[Pairs(
    Tool,
    Anywhere,
    Exact,
    &[("<start_function_call>", "<end_function_call>")],
)];

/// Ollama gemma4.go.
const GEMMA: &[Rows] = &[
    Pairs(
        Reasoning,
        Anywhere,
        Exact,
        &[("<|channel>thought", "<channel|>")],
    ),
    Pairs(
        Tool,
        Anywhere,
        Exact,
        &[
            ("<|tool_call>", "<tool_call|>"),
            ("<|tool_response>", "<tool_response|>"),
        ],
    ),
];

/// SGLang gigachat3_detector.py (nothing follows such a call), gigachat35_detector.py.
const GIGACHAT: &[Rows] = &[
    Pairs(Tool, Anywhere, Exact, &[("<|function_call|>", "")]),
    Pairs(
        Tool,
        Anywhere,
        Tag,
        &[
            ("<|message_sep|>functioncall<|role_sep|>", ""),
            ("<｜GCML｜tool_calls>", "</｜GCML｜tool_calls>"),
        ],
    ),
];

/// vLLM granite_reasoning_parser.py, granite_tool_parser.py. Nothing follows a call, which has no end; the one here is
/// that of Phi, which has the same beginning.
const GRANITE: &[Rows] = &[
    Pairs(
        Reasoning,
        TextStart,
        Exact,
        &[
            ("Here is my thought process:", "Here is my response:"),
            ("Here is my thought process:", "Here's my response:"),
            ("Here's my thought process:", "Here is my response:"),
            ("Here's my thought process:", "Here's my response:"),
        ],
    ),
    Pairs(
        Tool,
        Anywhere,
        Exact,
        &[("<|tool_call|>", "<|/tool_call|>")],
    ),
];

/// Headers: openai/harmony. What Muse Glimmer writes after them: Ollama glimmer.go.
const HARMONY: &[Rows] = &[Tags(Tool, Anywhere, &["atem:function_calls"])];

/// SGLang internlm_detector.py.
const INTERNLM: &[Rows] = &[Pairs(
    Tool,
    Anywhere,
    Exact,
    &[("<|action_start|>", "<|action_end|>")],
)];

/// K2: llama.cpp Kimi-K2-Thinking.jinja, SGLang kimik2_detector.py. VL: SGLang reasoning_parser.py. K3, which may begin
/// its answer without an end of the thought: SGLang kimik3_format.py, kimik3_detector.py.
const KIMI: &[Rows] = &[
    Pairs(
        Reasoning,
        Anywhere,
        Exact,
        &[
            ("◁think▷", "◁/think▷"),
            ("<|open|>think<|sep|>", "<|close|>think<|sep|>"),
            ("<|open|>think<|sep|>", "<|open|>response<|sep|>"),
        ],
    ),
    Pairs(
        Tool,
        Anywhere,
        Exact,
        &[
            ("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
            ("<|tool_call_begin|>", "<|tool_call_end|>"),
            ("<|open|>tools<|sep|>", "<|close|>tools<|sep|>"),
            ("<|open|>call ", "<|close|>call<|sep|>"),
        ],
    ),
];

/// Ollama lfm2.go.
const LFM: &[Rows] = &[Pairs(
    Tool,
    Anywhere,
    Exact,
    &[("<|tool_call_start|>", "<|tool_call_end|>")],
)];

/// llama.cpp chat-parser.cpp, for which the call extends to the end.
const LLAMA: &[Rows] = &[Pairs(
    Tool,
    Anywhere,
    Exact,
    &[
        ("<|python_tag|>", ""),
        // Llama 4: SGLang's gateway, pythonic parser.
        ("<|python_start|>", "<|python_end|>"),
    ],
)];

/// llama.cpp chat-parser.cpp; nothing follows a call.
const MISTRAL: &[Rows] = &[
    Pairs(Reasoning, Anywhere, Exact, &[("[THINK]", "[/THINK]")]),
    Pairs(Tool, Anywhere, Exact, &[("[TOOL_CALLS]", "")]),
];

/// llama.cpp llama-cpp-microsoft-Phi-4-mini-instruct.jinja, vLLM phi4mini_tool_parser.py.
const PHI: &[Rows] = &[
    Pairs(
        Tool,
        Anywhere,
        Exact,
        &[("<|tool_call|>", "<|/tool_call|>")],
    ),
    Pairs(Tool, TextStart, Exact, &[("functools[", "")]),
];

/// Of these, models write `<function_calls>` (Olmo 3: Ollama olmo3.go; DeepSeek V3.2, with `<invoke name="x">` in it:
/// SGLang deepseekv32_detector.py), `<function_call>` (Granite 20B, never closed: vLLM granite_20b_fc_tool_parser.py)
/// and `<thinking>` (Apriel 1.5: llama.cpp chat-parser.cpp). `<reason>`: Open WebUI middleware.py.
const PROMPT: &[Rows] = &[
    Tags(
        Reasoning,
        LineStart,
        &[
            "thinking",
            "reason",
            "reasoning",
            "scratchpad",
            "reflection",
        ],
    ),
    Tags(
        Tool,
        LineStart,
        &[
            "tool",
            "tool_use",
            "function_call",
            "function_calls",
            "invoke",
            "tool_response",
            "tool_result",
            "observation",
        ],
    ),
];

/// vLLM solar_open2_reasoning_parser.py, solar_open2_tool_parser.py.
const SOLAR: &[Rows] = &[
    Pairs(
        Reasoning,
        Anywhere,
        Exact,
        &[("<|think:start|>", "<|think:end|>")],
    ),
    Pairs(
        Tool,
        Anywhere,
        Exact,
        &[("<|tool_call:start|>", "<|tool_call:end|>")],
    ),
];

/// `<thought>`: EXAONE Deep's README.md, Open WebUI middleware.py. MiniMax M3: SGLang reasoning_parser.py. Seed-OSS:
/// llama.cpp chat-parser.cpp. LongCat: vLLM longcat_reasoning_parser.py. Hunyuan 3, whose vocabulary adds a suffix:
/// SGLang hunyuan_detector.py. K2 Horizon: SGLang k2_v3_detector.py. `<|begin_of_thought|>`: Open WebUI middleware.py.
const THINK: &[Rows] = &[
    Tags(
        Reasoning,
        LineStart,
        &[
            "think",
            "thought",
            "mm:think",
            "seed:think",
            "longcat_think",
            "think:opensource",
            "ifm|think",
            "ifm|think_fast",
            "ifm|think_faster",
        ],
    ),
    Pairs(
        Reasoning,
        Anywhere,
        Exact,
        &[
            ("<|begin_of_thought|>", "<|end_of_thought|>"),
            ("[unused16]", "[unused17]"),
        ],
    ),
];

/// `<tool_call>` is a single token in most vocabularies (GLM, Hermes, Qwen: llama.cpp chat-parser.cpp; ERNIE: vLLM
/// ernie45_tool_parser.py). `<tool_calls>` is one in some, and plain text for Apriel (vLLM jamba_tool_parser.py,
/// hunyuan_a13b_tool_parser.py, llama.cpp Apriel-1.6-15b-Thinker-fixed.jinja): within a line it counts only with the
/// list that follows it. MiniMax M2: llama.cpp unsloth-MiniMax-M2.jinja; M3: SGLang minimax_m3.py. Seed-OSS, Nemotron 2
/// (`<TOOLCALL>`): llama.cpp chat-parser.cpp. Pangu (`[unused11]`): vLLM Ascend, openPangu's chat template.
/// `<tool_code>`: Gemini without native calls. LongCat: vLLM longcat_tool_parser.py. Hunyuan 3: SGLang
/// hunyuan_detector.py. K2 Horizon: SGLang k2_v3_detector.py.
const TOOL_CALL: &[Rows] = &[
    Tags(
        Tool,
        Anywhere,
        &[
            "tool_call",
            "minimax:tool_call",
            "seed:tool_call",
            "longcat_tool_call",
            "tool_call:opensource",
            "tool_calls:opensource",
            "ifm|tool_call",
            "ifm|tool_calls",
        ],
    ),
    Tags(Tool, LineStart, &["tool_calls", "tool_code"]),
    Pairs(
        Tool,
        Anywhere,
        Tag,
        &[
            ("<tool_calls>[", "</tool_calls>"),
            ("]<]minimax[>[<tool_call>", "]<]minimax[>[</tool_call>"),
        ],
    ),
    Pairs(
        Tool,
        Anywhere,
        Exact,
        &[("<TOOLCALL>", "</TOOLCALL>"), ("[unused11]", "[unused12]")],
    ),
];
