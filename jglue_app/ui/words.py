"""Every word of the page, in Japanese and English.

Component labels go to the browser as gradio i18n keys (prefixed, so that they never meet gradio's own); the texts of
views are chosen on the server by the visitor's `Accept-Language`.
"""

from __future__ import annotations

import gradio as gr

from jglue_app.notices import SENTENCES

PREFIX = "jg_"

# key: (Japanese, English)
WORDS: dict[str, tuple[str, str]] = {
    "title": ("JGLUE くらべ", "JGLUE side by side"),
    "lead": (
        "二つの日本語言語モデルに同じ問題を出し、何を聞かれ、何と答え、それがどう読まれ、何点になったかを一問ずつ見比べます。",
        "Ask two Japanese language models the same questions and see, item by item, what each was asked, what it said, "
        "how that was read, and what it scores.",
    ),
    "what": ("出題", "Questions"),
    "tasks": ("サブセット", "Subsets"),
    "data": ("データ", "Data"),
    "data_info": (
        "「見本」はこのアプリ独自の問題。「公式」は JGLUE v1.3 を取得します（MARC-ja は配布終了のため見本を使います）。",
        "“Sample” items are this application's own. “Official” fetches JGLUE v1.3 (MARC-ja is no longer distributed "
        "and falls back to samples).",
    ),
    "data_sample": ("見本", "Sample"),
    "data_official": ("公式 JGLUE v1.3", "Official JGLUE v1.3"),
    "limit": ("サブセットごとの問題数", "Items per subset"),
    "method": ("答えさせ方", "Method"),
    "method_generate": ("自由生成", "Free generation"),
    "method_choose": ("対数尤度で順位づけ", "Log-likelihood ranking"),
    "method_both": ("両方", "Both"),
    "side_a": ("モデル A", "Model A"),
    "side_b": ("モデル B", "Model B"),
    "use_b": ("B と比べる", "Compare with B"),
    "model": ("モデル", "Model"),
    "model_info": (
        "一覧から選ぶか、Hub の ID（owner/name）・フォルダ・.gguf ファイルを入力",
        "Choose, or type a Hub id (owner/name), a folder or a .gguf file",
    ),
    "model_info_public": ("このサーバーでは一覧のモデルだけを使えます", "This server runs the listed models only"),
    "format": ("プロンプト書式", "Prompt format"),
    "style": ("言い回し", "Wording style"),
    "shots": ("例題の数（few-shot）", "Examples (few-shot)"),
    "quantization": ("量子化", "Quantization"),
    "quantization_none": ("なし", "None"),
    "run": ("くらべる", "Compare"),
    "stop": ("止める", "Stop"),
    "filter": ("表示する問題", "Items shown"),
    "filter_all": ("すべて", "All"),
    "filter_disagree": ("判定が分かれた", "Disagree"),
    "filter_only_a": ("A だけ正解", "Only A right"),
    "filter_only_b": ("B だけ正解", "Only B right"),
    "filter_form": ("形式だけ誤り", "Wrong form"),
    "filter_unreadable": ("読み取れない", "Unreadable"),
    "items": ("一問ごとの結果（行を選ぶと詳細）", "Item by item (choose a row for details)"),
    # views
    "empty_board": (
        "「くらべる」を押すと、ここに点数が出ます。最初の設定は、通信なしで動く Gemma 3 270M を、例題なし（A）と例題 3 つ（B）で比べます。",
        "Press “Compare” and the scores appear here. As set, the embedded Gemma 3 270M is compared with itself: "
        "without examples (A) and with three (B).",
    ),
    "empty_item": (
        "表の行を選ぶと、プロンプトと出力をここに並べて表示します。",
        "Choose a row to see prompts and outputs here.",
    ),
    "subset": ("サブセット", "Subset"),
    "metric": ("指標", "Metric"),
    "difference": ("差（B−A）", "Difference (B−A)"),
    "verdict_a": ("A が上", "A is better"),
    "verdict_b": ("B が上", "B is better"),
    "verdict_undecided": ("まだ差があるとは言えない", "Cannot tell yet"),
    "verdict_none": ("比べられる値がない", "No values to compare"),
    "needed": ("この差を見分けるには約 {} 問", "about {} items would tell"),
    "reference_human": ("人間（参考、dev 全体）", "People (all of dev, for comparison)"),
    "reference_tohoku": ("東北大 BERT base・学習済み（参考）", "Tohoku BERT base, fine-tuned (for comparison)"),
    "reference_waseda": ("早稲田 RoBERTa large・学習済み（参考）", "Waseda RoBERTa large, fine-tuned (for comparison)"),
    "notices": ("点を信じる前に", "Before you believe a score"),
    "mark_on_floor_default": ("床と区別できない", "on the floor"),
    "mark_on_floor_constant": ("床と区別できない", "on the floor"),
    "mark_below_floor": ("床より下", "below the floor"),
    "floor": ("床（最頻の答え）", "Floor (best constant)"),
    "n": ("問", "items"),
    "strict": ("厳密", "strict"),
    "lenient": ("寛容", "lenient"),
    "imputed": ("2.5 で補完", "filled with 2.5"),
    "distance": ("正解との差 {}", "off the gold by {}"),
    "choose": ("対数尤度", "log-likelihood"),
    "unreadable_count": ("読めない", "unreadable"),
    "outcomes": ("答えの内訳", "Outcomes"),
    "outcomes_note": (
        "JSTS は正解との差が 0.5 以内なら「正解」と数えます（内訳の図だけの約束で、点数は相関係数です）。",
        "In this picture a JSTS answer within 0.5 of the gold counts as correct; its scores are correlations.",
    ),
    "outcome_correct": ("正解", "Correct"),
    "outcome_wrong_form": ("形式だけ誤り", "Right answer, wrong form"),
    "outcome_wrong": ("不正解", "Wrong"),
    "outcome_unreadable": ("読み取れない", "Unreadable"),
    "knows": (
        "知っているのに書けない（対数尤度では正解を選び、文章は形が違う・読めない・途切れた・空）：{}",
        "Knows but cannot format (ranks the gold answer first; the text is in the wrong form, unreadable, cut off or "
        "empty): {}",
    ),
    "outcome_truncated": ("途中で切れた", "Cut off"),
    "outcome_unscored": ("採点対象なし", "Nothing to score"),
    "outcome_empty": ("空", "Empty"),
    "outcome_overflow": ("長すぎる", "Too long"),
    "outcome_error": ("エラー", "Error"),
    "source_sample": ("見本", "sample"),
    "source_user": ("自分のファイル", "own file"),
    "source_official": ("", ""),
    "board_note": (
        "大きい数字は厳密な読み取り（出力が答えそのもの）の点、[ ] は 95% 区間。「寛容」は書式の崩れを許した点で、その差が書式の代償です。「2.5 で補完」は読めない答えを中央の 2.5 としたもの。",
        "Large figures are the strict reading (the output is exactly an answer) with its 95 % interval. “Lenient” forgives "
        "form; the gap is the cost of format. “Filled with 2.5” puts the middle of the scale for unreadable answers.",
    ),
    "average": ("平均", "Average"),
    "average_of": ("主指標の平均（{}）", "Mean of the main metrics ({})"),
    "average_without": ("値のないサブセットがあるため平均なし（{}）", "No average: no value for {}"),
    "col_task": ("サブセット", "Subset"),
    "col_id": ("番号", "Id"),
    "col_question": ("問題", "Question"),
    "col_gold": ("正解", "Gold"),
    "col_a": ("A の出力", "A said"),
    "col_a_mark": ("A 判定", "A"),
    "col_b": ("B の出力", "B said"),
    "col_b_mark": ("B 判定", "B"),
    "gold": ("正解", "Gold"),
    "field_sentence": ("文", "Text"),
    "field_sentence1": ("文1", "Sentence 1"),
    "field_sentence2": ("文2", "Sentence 2"),
    "field_title": ("題名", "Title"),
    "field_context": ("文章", "Paragraph"),
    "field_question": ("質問", "Question"),
    "field_choice0": ("選択肢 0", "Choice 0"),
    "field_choice1": ("選択肢 1", "Choice 1"),
    "field_choice2": ("選択肢 2", "Choice 2"),
    "field_choice3": ("選択肢 3", "Choice 3"),
    "field_choice4": ("選択肢 4", "Choice 4"),
    "prompt": ("プロンプト（モデルが見たそのまま）", "Prompt, exactly as the model saw it"),
    "raw": ("出力", "Output"),
    "no_text": ("（文章は生成していません）", "(no text was generated)"),
    "empty_text": ("（何も書かれていません）", "(nothing was written)"),
    "reading_strict": ("厳密な読み取り", "Strict reading"),
    "reading_lenient": ("寛容な読み取り", "Lenient reading"),
    "rule": ("規則", "rule"),
    "no_reading": ("読み取れない", "not readable"),
    "score": ("得点", "Score"),
    "logprobs": (
        "各答えの対数尤度（棒は選択肢の間の確率、○ は正解）",
        "Log-likelihood of each answer (bars: share of probability, ○ gold)",
    ),
    "tokens": ("入力 {} トークン、出力 {} トークン、{} 秒", "{} tokens in, {} out, {} s"),
    "finish_length": ("長さの上限で打ち切り", "cut at the length limit"),
    "finish_overflow": ("プロンプトが文脈長を超えています", "the prompt exceeds the context length"),
    "shots_used": ("例題", "Examples"),
    "not_run": ("未実行", "Not run"),
    "adds_bos": ("先頭に付く", "put first"),
    "loading": ("準備中…", "Preparing …"),
    "waiting": ("ほかの実行が終わるのを待っています…", "Waiting for another run to end …"),
    "out_of_time": (
        "時間の上限に達したので止めました。もう一度押すと続きから始まります。",
        "Stopped at the time limit. Press again to go on from there.",
    ),
    "allow_bin": (
        "safetensors のないモデルで .bin の重みを読む",
        "Read .bin weights of models without safetensors",
    ),
    "stopping": ("止めています…", "Stopping …"),
    "running": ("実行中", "Running"),
    "done": ("終わりました", "Done"),
    "stopped": (
        "止めました。終わった分は保存済みで、同じ設定でもう一度押すと続きから始まります。",
        "Stopped. What is finished is kept; the same settings go on from there.",
    ),
    "incomplete": ("{} 問はエラーで、点数に入っていません。", "{} items ended in an error and are not scored."),
    "left": ("残り約 {} 秒", "about {} s left"),
    "speed": ("{} 問/秒", "{} items/s"),
    "failed": ("実行できませんでした", "This could not be run"),
    "fault": (
        "予期しない不具合です。記録番号 {} を添えてお知らせください。終わった分は保存されています。",
        "An unexpected fault. Please report it with the number {}. What was finished is kept.",
    ),
    "same": ("A と B が同じ設定です。どちらかを変えてください。", "A and B are the same. Change one of them."),
    "no_tasks": ("サブセットを一つ以上選んでください。", "Choose at least one subset."),
    "no_model": ("モデルを選ぶか、名前を入力してください。", "Choose a model, or type its name."),
    "too_many": ("問題数は 1 から {} までです。", "The number of items is from 1 to {}."),
    "gone": (
        "この結果は保存場所にもうありません。もう一度実行してください。",
        "This result is no longer stored. Run it again.",
    ),
    "busy": ("このタブではすでに実行中です。", "A run is already going on in this tab."),
}

NOTICES_JA = {
    "on_floor_default": "{metric} {value} は、読める答えを一つも出さないときの点 {floor} と区別できません（{protocol} は読めない出力を {default} とみなします）。",
    "on_floor_constant": "{metric} {value} は、いつも同じ答えを出すときの点 {floor} と区別できません。",
    "below_floor": "{metric} {value} は、いつも同じ答えを出すときの点 {floor} を下回っています。",
    "defaults": "{n} 問のうち {k} 問は読めず、{protocol} では {default} とみなされます。そのうち {luck} 問は偶然正解です。",
    "defaults_similarity": "{n} 問のうち {k} 問は読めず、{protocol} では {default} とみなされます。",
    "asked_otherwise": "プロンプトは {asked} で答えるよう求めましたが、{protocol} は {read} しか読みません。言い回し {style} なら意味のある点になります。",
    "oracle": "どの答えも、正解のいちばん長いトークン数までしか書けません。正解の一部を教えていることになります（オラクル）。",
    "no_logprobs": "{protocol} は対数尤度で順位をつけますが、この実行にはありません。「両方」で実行してください。",
    "no_text": "{protocol} は生成された文章を読みますが、この実行にはありません。「両方」で実行してください。",
    "not_covered": "{protocol} は {task} を採点しません。",
    "approximate": "{precision} で計算したので、対数尤度は近似です。僅差の答えは float32 と入れ替わることがあります。",
    "other_settings": "この実行は {protocol} の設定と異なります（{settings}）。",
    "no_correlation": "{metric} {value} は 0 と区別できません。答えた数が類似度を表しているとは言えません。",
    "left_out": "{n} 問のうち {k} 問は使える対数尤度がなく（欠けているか、NaN・無限大）、この点に入っていません。",
    "assumed_choices": 'acc_norm は {asked} の長さで割っています。ほかの文を順位づけしたなら、予測ファイルの "choices" に書いてください。',
}
"""Notice → Japanese sentence; the English ones are in `notices.py`."""
WORDS |= {f"notice_{kind}": (NOTICES_JA[kind], SENTENCES[kind]) for kind in SENTENCES}

ASKS_EN = {
    "marc_ja": "Is a product review positive or negative?",
    "jsts": "How similar are two sentences (0–5)?",
    "jnli": "Does the premise entail the hypothesis?",
    "jsquad": "Copy the answer out of a paragraph",
    "jcommonsenseqa": "Common sense, five choices",
}


def browser_words() -> gr.I18n:
    """All words as gradio translations."""
    return gr.I18n(
        ja={PREFIX + key: ja for key, (ja, _) in WORDS.items()},
        en={PREFIX + key: en for key, (_, en) in WORDS.items()},
    )


def language(request: gr.Request | None) -> str:
    """`ja` if that is the first language the browser asks for, or it asks for none; else `en`, as gradio does."""
    header = (request.headers.get("accept-language", "") if request else "").strip().lower()
    return "ja" if not header or header.startswith("ja") else "en"


def word(key: str, lang: str) -> str:
    """One text in one language; raises KeyError for an unknown key."""
    return WORDS[key][1 if lang == "en" else 0]


def table(lang: str) -> dict[str, str]:
    """All texts in one language."""
    return {key: word(key, lang) for key in WORDS}
