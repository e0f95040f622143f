"""What each reading rule of the parsers and protocols means, in one English clause. No I/O."""

from __future__ import annotations

from jglue_app.messages import Joined, Message, mark

RULES = {
    # the readers of `official`
    "exact": mark("the output as it is, apart from surrounding white space"),
    "empty": mark("nothing was written"),
    "not_exact": mark("the output is not exactly a legal answer"),
    "same_answer_twice": mark("the prompt asked for the same text for two labels"),
    "notation": mark("the answer in another width, case, script or encoding, or within punctuation"),
    "alias": mark("another word for the label, and nothing else"),
    "cue": mark("what follows a cue such as 答え："),
    "leading": mark("the answer comes first, other text follows"),
    "quoted": mark("what stands in quotation marks"),
    "marked": mark("what is marked as the answer: \\boxed{}, <answer>, a JSON field"),
    "mention": mark("the only answer that the text asserts"),
    "after_thought": mark("what follows the closed thought"),
    "after_question": mark("what follows the question it repeats first"),
    "first_line": mark("the first line alone"),
    "first_sentence": mark("the first sentence alone"),
    "copula": mark("without です or だ at the end"),
    "several_labels": mark("it names several labels"),
    "several_numbers": mark("it names several numbers"),
    "no_label": mark("it names no label"),
    "no_number": mark("it holds no number"),
    "no_answer": mark("nothing follows the thought"),
    "not_asserted": mark("what it names is negated, doubted or asked"),
    "out_of_scale": mark("the number is off the scale 0–5"),
    "too_long": mark("the answer is not within the part that is read"),
    "unfinished_thought": mark("it never ends its thought"),
    # protocols
    "contains": mark("it contains the word"),
    "contains_no_negative": mark("it does not contain 'negative'"),
    "digits_first": mark("the digits it begins with"),
    "digits_kept": mark("all but 0-9 and . dropped"),
    "clipped": mark("clipped to 0–5"),
    "default": mark("it cannot be read, so the protocol's default counts"),
    "highest_logprob": mark("the choice with the highest log-likelihood; the text is not looked at"),
    "nfkc": mark("after NFKC"),
    "to_blank_line": mark("up to the first blank line"),
    "without_brackets": mark("without 「」『』。 at the ends"),
    "without_quotes": mark("without quotation marks at the ends"),
    "without_cues": mark("without 応答: 回答: 答え:"),
    "without_nul": mark("without NUL characters at the end"),
    "without_full_stop": mark("without 「。」 at the end"),
    "without_emoji": mark("without emoji"),
    "neologdn": mark("after neologdn"),
    "collapsed": mark("with each run of white space as one space"),
    "lower": mark("in lower case"),
    "equal": mark("equal to an answer"),
    "no_match": mark("equal to none of the answers"),
    "as_written": mark("as it was written"),
    "trimmed": mark("without white space at the ends"),
    "number": mark("Python's float() reads it"),
    # nothing to read
    "not_generated": mark("no text was generated; the ranking decides"),
    "error": mark("the item failed"),
    "overflow": mark("the prompt did not fit"),
    "cosine": mark("the cosine of the embeddings of the two sentences; nothing was written"),
    "unscored": mark("the run has nothing of what this protocol looks at"),
}


def explain(rule: str) -> Message:
    """A rule, or several joined by `+`, in words; raises KeyError for one that is not in the table."""
    parts = [Message(RULES[part]) for part in rule.split("+")]
    return parts[0] if len(parts) == 1 else Joined(", then ", parts)
