"""JSQuAD: find the answer to a question in a paragraph."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jglue_app.messages import Message, mark
from jglue_app.tasks.rows import RepeatedKeyError, id_field, json_lines, load_json, text_field
from jglue_app.types import Item, Task

SEPARATOR = " [SEP] "


def rows(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (place, row) for every question of a SQuAD-shaped document, or of a flat one: JSON Lines or a JSON array
    of questions, each with its `context`, as the Hugging Face Hub has them.

    A row is the question's object with the paragraph's `context` added.

    Raises:
        ValueError: the document is not JSON or not of that shape, naming the place.
    """
    if "".join(text[:1000].split()).startswith("[{"):
        yield from json_lines(text)
        return
    try:
        document = load_json(text)
    except json.JSONDecodeError as e:
        if e.msg == "Extra data" and _is_flat(text):
            yield from json_lines(text)
            return
        raise ValueError(
            Message(
                "line {line}, column {column}: not valid JSON ({reason})", line=e.lineno, column=e.colno, reason=e.msg
            )
        ) from e
    except RepeatedKeyError as e:
        raise ValueError(Message("top level: {reason}", reason=e)) from e
    except (ValueError, RecursionError) as e:
        raise ValueError(Message("JSON beyond what can be read ({reason})", reason=e)) from e
    if isinstance(document, dict) and "data" not in document and "context" in document:
        yield Message("line {line}", line=1), document
        return
    where = Message("top level")
    try:
        for a, article in enumerate(document["data"], start=1):
            where = Message("article {article}", article=a)
            for p, paragraph in enumerate(article["paragraphs"], start=1):
                where = Message("article {article}, paragraph {paragraph}", article=a, paragraph=p)
                for q, question in enumerate(paragraph["qas"], start=1):
                    where = Message(
                        "article {article}, paragraph {paragraph}, question {question}",
                        article=a,
                        paragraph=p,
                        question=q,
                    )
                    yield where, {**question, "context": paragraph["context"]}
    except (KeyError, TypeError) as e:
        raise ValueError(Message("{where}: not in the JSQuAD format ({reason})", where=where, reason=repr(e))) from e


def _is_flat(text: str) -> bool:
    """Whether the first line is a question with its context."""
    try:
        row = json.loads(text.lstrip().split("\n", 1)[0])
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and {"context", "question"} <= set(row)


def document(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Flat questions, each with title and context, written as the official file has them; None if they are not such."""
    articles: list[dict[str, Any]] = []
    try:
        for row in rows:
            answers = row["answers"]
            if isinstance(answers, Mapping):
                pairs = zip(answers["text"], answers["answer_start"], strict=True)
                answers = [{"text": text, "answer_start": start} for text, start in pairs]
            question = {"question": row["question"], "id": row["id"], "answers": answers}
            question["is_impossible"] = row["is_impossible"]
            if not articles or articles[-1]["title"] != row["title"]:
                articles.append({"title": row["title"], "paragraphs": []})
            paragraphs = articles[-1]["paragraphs"]
            if not paragraphs or paragraphs[-1]["context"] != row["context"]:
                paragraphs.append({"qas": [], "context": row["context"]})
            paragraphs[-1]["qas"].append(question)
        return json.dumps({"data": articles}, ensure_ascii=False) + "\n"
    except (KeyError, TypeError, ValueError):
        return None


def item(row: Mapping[str, Any]) -> Item:
    """Row `{id, question, answers, context}` → Item; `題名 [SEP] 本文` is split into `title` and `context`."""
    if row.get("is_impossible"):
        raise ValueError(Message("JSQuAD has no unanswerable questions, but 'is_impossible' is true"))
    raw = text_field(row, "context")
    title, separator, body = raw.partition(SEPARATOR)
    if not separator:
        title, body = "", raw
    answers = row.get("answers")
    if isinstance(answers, dict) and isinstance(answers.get("text"), list):
        answers = [{"text": text} for text in answers["text"]]  # As the Hub's exports have them: lists side by side.
    if not isinstance(answers, list) or not answers:
        raise ValueError(Message("field 'answers' must list at least one answer"))
    if not all(isinstance(answer, dict) for answer in answers):
        raise ValueError(Message("every entry of 'answers' must be an object with a 'text'"))
    gold = tuple(text_field(answer, "text") for answer in answers)
    fields = {"title": title, "context": body, "question": text_field(row, "question")}
    return Item("jsquad", id_field(row, "id"), fields, gold)


TASK = Task(
    name="jsquad",
    title="JSQuAD",
    question=mark("Copy the answer out of a paragraph"),
    kind="span",
    labels=(),
    metrics=("exact_match", "f1"),
    fields=("title", "context", "question"),
    rows=rows,
    item=item,
    aliases=lambda _: {},
    stratum=lambda i: i.fields["title"],
    distributed=True,
    sha256={  # The checksum of the train file is not known here.
        "valid": "fb0a57a35281ff03bbe7f0e878cff5b577985fbe6fcb242e7e8ddb63d1c0ab11",
        "test": "0078f3f2e1604a201700c24139e198344fa689e02282fc00adaa31687cce2aff",
    },
)
