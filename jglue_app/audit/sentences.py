"""What the auditor finds, as sentences: what is so, and in plain words why. No I/O.

A `Finding` carries facts; `sentence` makes messages of them. Facts are numbers, labels, titles and names of models;
what is to be translated in them is a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jglue_app.messages import Joined, Message, mark
from jglue_app.scoring.metric_names import METRIC_NAMES

Weight = Literal["alert", "note", "info"]
WEIGHTS: tuple[Weight, ...] = ("alert", "note", "info")
Fact = str | int | float | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding."""

    kind: str
    """A key of `SENTENCES`."""
    weight: Weight = "note"
    """`alert`: doubt the score; `note`: know this before you compare; `info`: how it was read."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """The values in the sentence; `metric` is a key of `benchmarks.METRICS`, `test` one of `TEST_NAMES`."""


def finding(kind: str, weight: Weight = "note", /, **facts: Fact) -> Finding:
    """A finding with its facts by name."""
    return Finding(kind, weight, facts)


SIZES = ("sizes", "fitting", "unfit")
"""Facts that are lists of numbers."""
TEST_NAMES = {
    "shares": mark("the score test for two shares"),
    "means": mark("the score test for two shares, which is at the widest for an average of values between 0 and 1"),
    "pearson": mark("the difference of Fisher's z"),
    "spearman": mark("the difference of Fisher's z with the variance of Bonett and Wright (2000)"),
    "balanced_accuracy": mark("the largest standard errors that two balanced accuracies with these values can have"),
}
"""Test → its name."""

SENTENCES: dict[str, tuple[str, str]] = {
    # --- one score: constants
    "constant": (
        mark("{score} is exactly {k:,} of {n:,}: what always answering {answer} scores with the labels of {edition}."),
        mark(
            "There {k:,} of the {n:,} items have the label {answer}, and no other number of right answers reads "
            "{score}. A model that gives one answer to everything scores exactly this. A model that tries can hit it "
            "by chance."
        ),
    ),
    "constant_among": (
        mark(
            "{score} fits {low:,} to {high:,} right answers of {n:,}; {k:,} is what always answering {answer} scores "
            "with the labels of {edition}."
        ),
        mark("It has too few digits to tell which of these numbers it is."),
    ),
    "constant_cut": (
        mark(
            "{score} is {k:,} of {n:,} ({full}) with the digits cut off: what always answering {answer} scores with "
            "the labels of {edition}."
        ),
        mark(
            "No number of right answers of {n:,} rounds to {score}: {k:,} of {n:,} rounds to {rounded}, and begins "
            "with {score}. There {k:,} of the {n:,} items have the label {answer}."
        ),
    ),
    "constant_balanced": (
        mark("As a balanced accuracy, {score} is what any one constant answer scores: 1 of {classes} labels."),
        mark(
            "Balanced accuracy is the mean, over the labels, of the share of right answers among the items of each. "
            "One answer to everything is right for all items of its own label and for none of the others. Which answer "
            "that was, the score does not say."
        ),
    ),
    "constant_macro": (
        mark("As a macro F1, {score} is what always answering {answer} scores with the labels of {edition} ({full})."),
        mark("That label has a precision of {k:,} of {n:,} and a recall of 1; each other label counts 0."),
    ),
    "constant_mcc": (
        mark("A Matthews correlation of 0 is what any one constant answer scores."),
        mark("It is not defined for a constant, and counted as 0."),
    ),
    "constant_correlation": (
        mark("A correlation of 0 is what several systems write where every answer is the same number."),
        mark(
            "The correlation of a constant is not defined (NaN). W&B 2023 (from 10 August) and llm-jp-eval count it as "
            "0. Answers that merely have nothing to do with the gold values come near 0, and seldom hit it to the last "
            "digit."
        ),
    ),
    "constant_nan": (
        mark("A correlation that is not a number (NaN) is that of one constant answer."),
        mark(
            "The correlation of a constant is not defined. Every answer was the same number, or was counted as the "
            "same."
        ),
    ),
    "default": (
        mark(
            "Under {system} an output that cannot be read counts as {answer}: there this is also the score of a model "
            "that never gives a readable answer."
        ),
        mark(
            "Such a score may say more about the form of the outputs than about what the model knows. Read the "
            "outputs, or score them under a protocol without such a default."
        ),
    ),
    "constants_unknown": (
        mark("Whether {score} is the score of a constant answer cannot be checked."),
        mark("How often each label of {task} occurs among these items is not known here."),
    ),
    # --- one score: digits
    "fits_one": (
        mark("{score} is exactly {k:,} right answers of {n:,}."),
        mark(
            "A printed decimal stands for all numbers that round to it. Of the shares of {n:,} items that is only "
            "{k:,} of {n:,} = {full}."
        ),
    ),
    "fits_range": (
        mark("{score} fits {low:,} to {high:,} right answers of {n:,}."),
        mark(
            "One unit of its last digit is more than one item of {n:,}, so every score with so few digits fits: they "
            "say nothing about the number of items."
        ),
    ),
    "fits_cut": (
        mark(
            "No number of right answers of {n:,} rounds to {score}; {k:,} of {n:,} = {full} reads so if the digits are "
            "cut off."
        ),
        mark(
            "Some tables cut digits off instead of rounding; a row of the README of Stability AI is an example. If "
            "this one rounds, the score is no share of {n:,} items."
        ),
    ),
    "fits_none": (
        mark("{score} is no share of right answers of {sizes} items."),
        mark(
            "The nearest are {k:,} of {n:,} = {full} and {k_next:,} of {n:,} = {full_next}; neither reads {score}, "
            "rounded or cut off. It may be an average of several runs or subsets, another metric such as F1 or "
            "balanced accuracy, or of another number of items."
        ),
    ),
    "fits_sizes": (
        mark("It fits {fitting} items; it does not fit {unfit}."),
        mark("A share of n items is a whole number divided by n. The sizes are those of known sets: {sets}."),
    ),
    "fits_every_size": (
        mark("It fits each known number of items: {fitting}."),
        mark("Its digits do not tell them apart. The sizes are those of known sets: {sets}."),
    ),
    "fits_part": (
        mark("It would fit a part of the items: {sizes}."),
        mark(
            "Some systems evaluate a part of a subset to save time. Of these round numbers not every score would fit."
        ),
    ),
    "mean_unchecked": (
        mark("The digits of {metric} say nothing about the number of items."),
        mark("It is an average of values that need not be 0 or 1, so nearly every decimal is possible."),
    ),
    "balanced_range": (
        mark("A balanced accuracy of {score} goes with accuracies from {low} to {high} (labels of {edition})."),
        mark(
            "Rare labels weigh as much in it as frequent ones. So it cannot be compared with an accuracy, and its "
            "digits do not tell how many answers were right."
        ),
    ),
    "system_size": (
        mark("{system} scores {sizes} items of {task}, and not {n:,}."),
        mark("Then it is not this system's usual evaluation: check the number of items, or the system."),
    ),
    # --- one score: certainty
    "interval": (
        mark("95 % interval: {low} to {high} ({n:,} items)."),
        mark(
            "Wilson's interval of a share. Other items of the same kind would give another score; intervals made like "
            "this hold the score over all such items in 95 of 100 cases."
        ),
    ),
    "interval_mean": (
        mark("95 % interval: at the widest {low} to {high} ({n:,} items)."),
        mark(
            "Values between 0 and 1 spread at most as much as right and wrong do, so this is the interval of a share "
            "(Wilson). With the outputs it would be narrower."
        ),
    ),
    "interval_balanced": (
        mark("95 % interval: at the widest {low} to {high} ({n:,} items)."),
        mark(
            "How many answers were right for each label is not known. This is the widest interval that any such "
            "numbers with this mean give (normal approximation)."
        ),
    ),
    "interval_correlation": (
        mark("95 % interval: {low} to {high} ({n:,} items)."),
        mark("By Fisher's z, for Spearman with the variance of Bonett and Wright (2000)."),
    ),
    "interval_none": (
        mark("The value alone gives no interval for {metric}."),
        mark("It takes the answers to the items; a stored run of this application has it."),
    ),
    "n_assumed": (
        mark("The number of items is taken to be {n:,}."),
        mark("That is {edition}. If it is another, give it."),
    ),
    # --- one score: floors
    "below_majority": (
        mark("{score} is below {floor}, what always answering {answer} scores with the labels of {edition}."),
        mark("{k:,} of the {n:,} items have that label: saying it every time would score more."),
    ),
    "at_majority": (
        mark(
            "{score} cannot be told from {floor}, what always answering {answer} scores with the labels of {edition}."
        ),
        mark("{k:,} of the {n:,} items have that label, and the interval of the score holds that share."),
    ),
    "above_majority": (
        mark(
            "{score} is above {floor}, the best that one constant answer scores (always {answer}, labels of {edition})."
        ),
        mark("The interval of the score lies above that share."),
    ),
    "below_silence": (
        mark("{score} is below {floor}, what a model scores under {system} that never gives a readable answer."),
        mark("An output that cannot be read counts as {answer} there."),
    ),
    "at_silence": (
        mark(
            "{score} cannot be told from {floor}, what a model scores under {system} that never gives a readable "
            "answer."
        ),
        mark("An output that cannot be read counts as {answer} there, and the interval of the score holds that share."),
    ),
    "above_silence": (
        mark("{score} is above {floor}, what a model scores under {system} that never gives a readable answer."),
        mark("An output that cannot be read counts as {answer} there."),
    ),
    "silence_zero": (
        mark("Under {system} never giving a readable answer scores 0."),
        mark("An output that cannot be read is wrong there."),
    ),
    "silence_never": (
        mark("Under {system} there is always an answer."),
        mark("It ranks the legal answers by log-likelihood, so no output can be unreadable."),
    ),
    "at_chance": (
        mark("{score} cannot be told from guessing: 1 of {classes}."),
        mark("The interval of the score holds {floor}, the mean of answers drawn at random."),
    ),
    "at_zero": (
        mark("{score} cannot be told from 0."),
        mark("The interval of the score holds 0: the answers may have nothing to do with the gold values."),
    ),
    # --- one score: what was published
    "same_digits": (
        mark("Published with the same digits: {who}."),
        mark("Equal scores of unlike models are a sign of a constant answer, or of a table copied."),
    ),
    "published": (
        mark("{same:,} of {all:,} published scores (same subset and metric) cannot be told from it: {who}."),
        mark(
            "By {test}, at 5 %. Outputs are not known, so both are taken as samples of their own. Models tend to fail "
            "on the same items: with the outputs of both, a paired test could tell smaller differences. Prompts, "
            "examples and labels differ between systems, too."
        ),
    ),
    "published_none": (
        mark("It can be told from each of the {all:,} published scores (same subset and metric); the nearest: {who}."),
        mark(
            "By {test}, at 5 %. Outputs are not known, so both are taken as samples of their own. Models tend to fail "
            "on the same items: with the outputs of both, a paired test could tell smaller differences."
        ),
    ),
    "published_difference": (
        mark("Difference to the nearest, {who}: {difference}, 95 % interval {low} to {high}."),
        mark(
            "Newcombe's interval of a difference of two shares. Outputs are not known, so both are taken as samples of "
            "their own. Models tend to fail on the same items: with the outputs of both, a paired test could tell "
            "smaller differences."
        ),
    ),
    "published_untested": (
        mark("{all:,} scores of this subset and metric were published; the nearest: {who}."),
        mark("Whether they differ from it cannot be tested from the values alone."),
    ),
    "published_empty": (
        mark("No published score of this subset and metric comes with the application."),
        mark("So there is nothing to compare it with here."),
    ),
    "relabelled": (
        mark(
            "Labels alone can move it by up to {share}: {k} of {n:,} items have other labels in {edition} than in "
            "{other}."
        ),
        mark("Scores with the labels of one version cannot be compared to the last digit with those of the other."),
    ),
    # --- one score: how it was read
    "scale_open": (
        mark("{score} may be {as_fraction} or {as_percent}; it is read as {as_fraction}."),
        mark(
            "Up to 1 and with so few decimals it may stand in a table of either kind. If the table gives percentages, "
            "say so (--percent, or the choice on the page)."
        ),
    ),
    "scale_percent": (
        mark("{score} is read as a percentage: {value} as a fraction of 1."),
        mark("So is what is above 1, has a percent sign, or is said to be a percentage."),
    ),
    "scale_fraction": (
        mark("{score} is read as a fraction of 1: {value}."),
        mark("So is what is not above 1 and has three decimals or more, or is said to be a fraction."),
    ),
    "metric_assumed": (
        mark("It is taken to be: {metric}."),
        mark("Others of {task} are {others}; name one if it is that."),
    ),
    # --- a whole table
    "read_columns": (
        mark("Rows: {rows:,}. Read as scores: {columns}."),
        mark("Left aside: {ignored}."),
    ),
    "read_columns_all": (
        mark("Rows: {rows:,}. Read as scores: {columns}."),
        mark("No column is left aside."),
    ),
    "board_constant": (
        mark("{column}: {who} is what always answering {answer} scores with the labels of {edition} ({k:,} of {n:,})."),
        mark(
            "A model that gives one answer to everything scores exactly this. A model that tries can hit it by chance."
        ),
    ),
    "board_constant_among": (
        mark(
            "{column}: {who} may be what always answering {answer} scores with the labels of {edition} ({k:,} of "
            "{n:,})."
        ),
        mark("The digits fit that number of right answers, and others too."),
    ),
    "board_balanced": (
        mark("{column}: {who} is the balanced accuracy of any one constant answer, 1 of {classes} labels."),
        mark("One answer to everything is right for all items of its own label and for none of the others."),
    ),
    "board_zero": (
        mark("{column}: {who} is 0, what several systems write where every answer is the same."),
        mark("The correlation of a constant is not defined (NaN), and is often counted as 0."),
    ),
    "board_nan": (
        mark("{column}: {who} is not a number (NaN), as of one constant answer."),
        mark(
            "The correlation of a constant is not defined. Where others of the table are 0, it may be the same fault."
        ),
    ),
    "board_default": (
        mark(
            "{column}: if {system} made this table, always {answer} is also the score of never giving a readable "
            "answer."
        ),
        mark("An output that cannot be read counts as {answer} there."),
    ),
    "board_below": (
        mark("{column}: {count:,} of {all:,} scores are below {floor}, what always answering {answer} scores: {who}."),
        mark("Their intervals lie below the share of that label ({edition})."),
    ),
    "board_at": (
        mark(
            "{column}: {count:,} of {all:,} scores cannot be told from {floor}, what always answering {answer} scores: "
            "{who}."
        ),
        mark("Their intervals hold the share of that label ({edition}), the best that one constant answer scores."),
    ),
    "board_impossible": (
        mark("{column}: no share of right answers of {sizes} items: {who}."),
        mark(
            "No number of right answers reads so, rounded or cut off. It may be an average, another metric or another "
            "number of items."
        ),
    ),
    "board_range": (
        mark("{column}: outside the range of a score: {who}."),
        mark("Such a cell cannot be a score on the scale of its column. It is left aside."),
    ),
    "board_unread": (
        mark("{column}: no number in {who}."),
        mark("These cells are left aside."),
    ),
    "board_sizes": (
        mark("{column}: all {count:,} scores fit {fitting} items."),
        mark("Of as many arbitrary numbers with these digits about {expected} would."),
    ),
    "board_mixed": (
        mark("{column}: fractions and percentages in one column: {who}."),
        mark(
            "Scores above 1: {above:,}; others: {below:,}. It is read on the scale of the larger number, as "
            "percentages if both are equal. These may be on the other scale, or very low, and are left aside. Say "
            "which it is to have the whole table read as one (--percent or --fraction, or the choice on the page)."
        ),
    ),
    "board_open": (
        mark("{column} is read as fractions of 1, though so few scores with so few decimals leave it open."),
        mark("If they are percentages, say so (--percent, or the choice on the page)."),
    ),
    "board_percent": (
        mark("Read as percentages: {columns}."),
        mark("A score above 1 is no fraction of 1."),
    ),
    "board_percent_said": (
        mark("Read as percentages: {columns}."),
        mark("It was said so."),
    ),
    "board_fraction": (
        mark("Read as fractions of 1: {columns}."),
        mark("Without a percent sign no score there is above 1."),
    ),
    "board_fraction_said": (
        mark("Read as fractions of 1: {columns}."),
        mark("It was said so."),
    ),
    "board_over": (
        mark("Exact match above F1: {who}."),
        mark("An answer that matches exactly has an F1 of 1, so F1 cannot be lower. The columns may be exchanged."),
    ),
    "board_twice": (
        mark("In more than one row: {who}."),
        mark("Each row is compared as a model of its own; all but the first bear a number."),
    ),
    "board_same": (
        mark("The same digits in every column: {who}."),
        mark("Copies of one row, one model under two names, or answers that do not depend on the model."),
    ),
    "board_top": (
        mark("{column}: of the others {count:,} of {all:,} cannot be told from the best, {best}: {who}."),
        mark(
            "Pairs compared: {pairs:,}. Each p is by {test}, corrected by Holm's method. Number of items: {n_said}. "
            "Outputs are not known, so both are taken as samples of their own. Models tend to fail on the same items: "
            "with the outputs of both, a paired test could tell smaller differences."
        ),
    ),
    "board_alone": (
        mark("{column}: {best} is above all the others."),
        mark("Pairs compared: {pairs:,}. Each p is by {test}, corrected by Holm's method. Number of items: {n_said}."),
    ),
    "board_widest": (
        mark("{column}: intervals are at the widest, so with the outputs more of its scores could be told apart."),
        mark("The values of single items behind this {metric} are not known. Compared by {test}."),
    ),
    "board_groups": (
        mark("{column}: groups in which no two can be told apart: {who}."),
        mark(
            "A model may stand in several groups. “Cannot be told apart” does not carry over: A may not be told from "
            "B, nor B from C, and A still be better than C."
        ),
    ),
    "board_untested": (
        mark("{column}: no groups."),
        mark("Whether two scores differ cannot be tested from values of this metric alone."),
    ),
    "board_identical": (
        mark("{column}: all {all:,} scores are equal."),
        mark("There is nothing to tell apart."),
    ),
}
"""Kind → what is so, and why."""


def sentence(finding: Finding) -> tuple[Message, Message]:
    """What is so, and why."""
    values = {name: _value(name, value) for name, value in finding.facts.items()}
    what, why = (Message.worded(_agreeing(text, finding.facts), text, values) for text in SENTENCES[finding.kind])
    return what, why


def _value(name: str, value: Fact) -> Fact:
    """A fact as it is put into a sentence."""
    if name == "others":
        assert isinstance(value, tuple)
        # In English by the names that a command takes.
        return Joined(", ", [Message.worded(metric, METRIC_NAMES[metric], {}) for metric in value])
    if isinstance(value, tuple):
        return Joined(" or ", value) if name in SIZES else Joined(", ", value)
    if name == "metric":
        return Message(METRIC_NAMES[str(value)])
    if name == "test":
        return Message(TEST_NAMES[str(value)])
    # Names of sets of items and of systems have entries in the catalogue where they are not the same everywhere.
    return Message(str(value)) if name in ("edition", "other", "system") else value


def _agreeing(text: str, facts: Mapping[str, Fact]) -> str:
    """A text with its verbs and nouns in the number that its values ask for."""
    who = facts.get("who")
    if isinstance(who, tuple) and len(who) > 1:
        text = text.replace("{who} is ", "{who} are ")
    if facts.get("count") == 1:
        text = text.replace(" scores are ", " scores is ")
    for name, noun in (("k", "right answer"), ("n", "item"), ("k", "item")):
        if facts.get(name) == 1:
            text = text.replace(f"{{{name}:,}} {noun}s", f"{{{name}:,}} {noun}")
    return text
