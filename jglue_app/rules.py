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
    "digits_kept": "what is left of it when all but 0-9 and . is dropped",
    "clipped": "what is left when all but 0-9 and . is dropped, clipped to 0–5",
    "default": "it cannot be read, so the protocol's default counts",
    "nfkc_without_brackets": "after NFKC and without 「」『』。 at the ends",
    "highest_logprob": "the choice with the highest log-likelihood; the text is not looked at",
    "neologdn_without_emoji": "after neologdn, without emoji",
    "equal_after_nfkc": "equal to an answer after NFKC, up to the first blank line",
    "nfkc": "after NFKC",
    "nfkc_to_blank_line": "up to the first blank line, after NFKC",
    "equal": "equal to an answer, to the character",
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
