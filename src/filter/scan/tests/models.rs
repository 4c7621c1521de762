//! What models write: their thoughts and calls, in the markers that each has of its own.

use super::*;

#[test]
fn calls_and_thoughts_are_hidden_as_models_write_them() {
    let table = [
        (
            "Sure.\n\n<minimax:tool_call>\n<invoke name=\"wx\">\n<parameter name=\"city\">Oslo</parameter>\n</invoke>\n</minimax:tool_call>",
            "Sure.\n\n",
        ),
        (
            "<mm:think>hm</mm:think>Sure.]<]minimax[>[<tool_call>]<]minimax[>[<invoke name=\"wx\">]<]minimax[>[<city>Oslo]<]minimax[>[</city>]<]minimax[>[</invoke>]<]minimax[>[</tool_call>",
            "Sure.",
        ),
        ("a[1] b] c]<d", "a[1] b] c]<d"),
        (
            "Sure.<|tool_calls_section_begin|><|tool_call_begin|>functions.wx:0<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>",
            "Sure.",
        ),
        (
            "Sure.\n<|tool_call_begin|>functions.wx:0<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>Rain",
            "Sure.\nRain",
        ),
        (
            "<|open|>think<|sep|>hm<|close|>think<|sep|><|open|>response<|sep|>Sure.<|open|>tools<|sep|><|open|>call tool=\"wx\" index=\"1\"<|sep|>x<|close|>call<|sep|><|close|>tools<|sep|>",
            "Sure.",
        ),
        (
            "Sure.\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"wx\">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>\nRain",
            "Sure.\n\n\nRain",
        ),
        (
            "Sure.\n\n<｜DSML｜ calls>\n<｜DSML｜ invoke name=\"wx\">{}</｜DSML｜ invoke>\n</｜DSML｜ calls>",
            "Sure.\n\n",
        ),
        (
            "Sure.\n<function=wx>\n<parameter=city>\nOslo\n</parameter>\n</function>\n</tool_call>\nRain",
            "Sure.\n\n\nRain",
        ),
        (
            "The <function=...> form\n<function=...> is old.",
            "The <function=...> form\n<function=...> is old.",
        ),
        (
            "<invoke name=...> is a tag, <invoke name=\"x\"> too.",
            "<invoke name=...> is a tag, <invoke name=\"x\"> too.",
        ),
        (
            "Sure. <tool_calls>\n[{\"name\": \"wx\"}]</tool_calls> Rain, <tool_calls> or not",
            "Sure.  Rain, <tool_calls> or not",
        ),
        (
            "Sure.\n\n<|message_sep|>\n\nfunction call<|role_sep|>\n{\"name\": \"wx\"}",
            "Sure.\n\n",
        ),
        (
            "Here are my reasoning steps:\nHm.\n[BEGIN FINAL RESPONSE]\nRain",
            "\nRain",
        ),
        ("functools[{\"name\": \"wx\"}]", ""),
        (
            "Use functools[1].\nfunctools[2]",
            "Use functools[1].\nfunctools[2]",
        ),
        (
            "to=self<|message|>, <|start|>assistant to=self<|message|>hm<|eom|><|start|>assistant to=user<|message|>Rain<|eot|>",
            "to=self<|message|>, Rain",
        ),
        (
            "Rain.\n</tool_call>\nSnow </tool_call>",
            "Rain.\n\nSnow </tool_call>",
        ),
        ("Rain.\n</invoke>\n</tool>", "Rain.\n</invoke>\n</tool>"),
    ];
    let marks = all();
    for (text, expected) in table {
        assert_visible(&marks, text, expected);
    }
}

#[test]
fn a_call_in_a_marker_of_its_own_is_named() {
    let table = [
        ("<function=wx>", "wx"),
        ("<function name=\"wx\">", "wx"),
        ("<invoke name=\"wx\">", "wx"),
        ("<tool_call id=\"1\" name='wx'>", "wx"),
        ("<｜DSML｜ invoke name=\"wx\">", "wx"),
        ("<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"wx\">", "wx"),
        ("<minimax:tool_call>\n<invoke name=\"wx\">", "wx"),
        (
            "]<]minimax[>[<tool_call>\n]<]minimax[>[<invoke name=\"wx\">",
            "wx",
        ),
        (
            "<|tool_calls_section_begin|><|tool_call_begin|>functions.wx:0<",
            "wx",
        ),
        ("<|tool_call_begin|>wx:0<", "wx"),
        (
            "<|open|>tools<|sep|><|open|>call tool=\"wx\" index=\"1\"<|sep|>",
            "wx",
        ),
        ("<|open|>call tool=\"wx\"", "wx"),
        ("<|python_tag|>wx.call(", "wx"),
        ("<|tools_prefix|>[{\"wx\": {}", "wx"),
        ("<|tool_call:start|>wx\n", "wx"),
        ("<tool_calls>\n<tool_call>wx<tool_sep>", "wx"),
        ("<ifm|tool_calls>\n<ifm|tool_call>wx\n", "wx"),
        (
            "<｜tool_calls_begin｜>\n<｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke name=\"wx\">",
            "wx",
        ),
        ("<|action_start|> <|plugin|>\n{\"name\": \"wx\"", "wx"),
        ("<atem:function_calls>\n<atem:invoke name=\"wx\">", "wx"),
        ("functools[{\"name\": \"wx\"", "wx"),
    ];
    let marks = all();
    for (text, name) in table {
        for cut in 1..=text.chars().count() {
            let mut scanner = Scanner::new(&marks);
            for piece in text.chars().collect::<Vec<_>>().chunks(cut) {
                let piece: String = piece.iter().collect();
                let body = serde_json::to_string(&piece).unwrap();
                scanner.feed(
                    &marks,
                    &body.as_bytes()[1..body.len() - 1],
                    &mut Visible::of(b""),
                );
            }
            assert_eq!(scanner.called(), Poll::Ready(Some(name)), "{text} {cut}");
        }
    }
}

#[test]
fn harmony_tells_what_each_message_is() {
    let table = [
        (
            "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>final<|message|>Rain<|return|>",
            "Rain",
        ),
        (
            "<|start|>assistant<|channel|>commentary to=functions.wx <|constrain|>json<|message|>{}<|call|>",
            "",
        ),
        (
            "<|channel|>commentary<|message|>I look it up.<|end|>",
            "I look it up.",
        ),
        (
            "<|start|>assistant to=functions.wx<|channel|>commentary<|message|>{}<|call|>Rain",
            "Rain",
        ),
        (
            "<|channel|>analysis<|message|>Hm<|channel|>final<|message|>Rain",
            "Rain",
        ),
        ("a <|chan", "a <|chan"),
    ];
    let marks = all();
    for (text, expected) in table {
        for cut in 1..=text.len() {
            assert_eq!(
                visible(&marks, text, cut),
                expected,
                "{text} in pieces of {cut}"
            );
        }
    }
    let long = format!("<|channel|>{}", "x".repeat(1000));
    assert_eq!(visible(&marks, &long, 7), long, "no header is that long");
}

#[test]
fn react_is_hidden_up_to_the_answer() {
    let table = [
        (
            "Thought: I should look.\nAction: wx\nAction Input: {}\nObservation: 4 C\nThought: done\nFinal Answer: 4 C\nand rain",
            "4 C\nand rain",
        ),
        ("**Thought:** hm\n**Final Answer:** Rain", "Rain"),
        ("Rain.\nAction: none", "Rain.\nAction: none"),
        ("Action plan\nThought: none", "Action plan\nThought: none"),
        (
            "Question: q\nThought: t\nFinal Answer:Rain",
            "Question: q\nRain",
        ),
        (
            "Question: Rain?\nAnswer: no.\n\n**Question 2:** Snow?",
            "Question: Rain?\nAnswer: no.\n\n**Question 2:** Snow?",
        ),
    ];
    let marks = all();
    for (text, expected) in table {
        for cut in 1..=text.len() {
            assert_eq!(
                visible(&marks, text, cut),
                expected,
                "{text} in pieces of {cut}"
            );
        }
    }
    let always = Marks::new(&[Family::React], false, true, true);
    assert_eq!(
        visible(&always, "Rain.\nAction: wx\nFinal Answer: ok", 1),
        "Rain.\nok"
    );
    assert_eq!(
        visible(&always, "Question: q\nThought: t\nFinal Answer:Rain", 1),
        "Rain"
    );
}
