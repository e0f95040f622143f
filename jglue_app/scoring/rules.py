"""What each reading rule of the parsers and protocols means, in one English clause. Pure."""

from __future__ import annotations

RULES = {
    # the readers of `official`
    "exact": "the output as it stands, white space around it aside",
    "empty": "nothing was written",
    "not_exact": "the output is not exactly a legal answer",
    "same_answer_twice": "the prompt asked for the same text for two labels",
    "notation": "the answer in another width, case, script or encoding, or within punctuation",
    "alias": "another word for the label, and nothing else",
    "cue": "what follows a cue such as 答え：",
    "leading": "the answer comes first, other text follows",
    "quoted": "what stands in quotation marks",
    "marked": "what is marked as the answer: \\boxed{}, <answer>, a JSON field",
    "mention": "the only answer that the text asserts",
    "after_thought": "what follows the closed thought",
    "after_question": "what follows the question it repeats first",
    "first_line": "the first line alone",
    "first_sentence": "the first sentence alone",
    "copula": "without です or だ at the end",
    "several_labels": "it names several labels",
    "several_numbers": "it names several numbers",
    "no_label": "it names no label",
    "no_number": "it holds no number",
    "no_answer": "nothing follows the thought",
    "not_asserted": "what it names is negated, doubted or asked",
    "out_of_scale": "the number is off the scale 0–5",
    "too_long": "the answer is not within the part that is read",
    "unfinished_thought": "it never ends its thought",
    # protocols
    "contains": "it contains the word",
    "contains_no_negative": "it does not contain 'negative'",
    "digits_first": "the digits it begins with",
    "digits_kept": "all but 0-9 and . dropped",
    "clipped": "clipped to 0–5",
    "default": "it cannot be read, so the protocol's default counts",
    "highest_logprob": "the choice with the highest log-likelihood; the text is not looked at",
    "nfkc": "after NFKC",
    "to_blank_line": "up to the first blank line",
    "without_brackets": "without 「」『』。 at the ends",
    "without_quotes": "without quotation marks at the ends",
    "without_cues": "without 応答: 回答: 答え:",
    "without_nul": "without NUL characters at the end",
    "without_full_stop": "without 「。」 at the end",
    "without_emoji": "without emoji",
    "neologdn": "after neologdn",
    "collapsed": "with each run of white space as one space",
    "lower": "in lower case",
    "equal": "equal to an answer",
    "no_match": "equal to none of the answers",
    "as_written": "as it was written",
    "trimmed": "without white space at the ends",
    "number": "Python's float() reads it",
    # nothing to read
    "not_generated": "no text was generated; the ranking decides",
    "error": "the item failed",
    "overflow": "the prompt did not fit",
    "unscored": "the run has nothing of what this protocol looks at",
}


def explain(rule: str) -> str:
    """A rule, or several joined by `+`, in words; raises KeyError for one that is not in the table."""
    return ", then ".join(RULES[part] for part in rule.split("+"))
