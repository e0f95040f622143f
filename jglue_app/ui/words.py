"""Every word of the page, in Japanese and English.

Component labels go to the browser as gradio i18n keys (prefixed, so that they never meet gradio's own); the texts of
views are chosen on the server, for the language that `door.language` finds.
"""

from __future__ import annotations

import re
from functools import cache

import gradio as gr

from jglue_app.scoring.notices import SENTENCES
from jglue_app.scoring.rules import RULES, explain

PREFIX = "jg_"

# key: (Japanese, English)
WORDS: dict[str, tuple[str, str]] = {
    "title": ("JGLUE くらべ", "JGLUE side by side"),
    "lead": (
        "二つの日本語言語モデルに同じ問題を出し、何を聞かれ、何と答え、それがどう読まれ、何点になったかを一問ずつ見比べます。",
        "Ask two Japanese language models the same questions and see, item by item, what each was asked, what it said, how that was read, and what it scores.",
    ),
    "what": ("出題", "Questions"),
    "tasks": ("サブセット", "Subsets"),
    "data": ("データ", "Data"),
    "data_info": (
        "「見本」はこのアプリ独自の問題。「公式」は JGLUE v1.3 の dev を取得します（配布のない MARC-ja と JCoLA は、手元のファイルがなければ見本を使います）。「テスト」は v1.3 で公開されたテストセットで、MARC-ja と JCoLA にはありません。",
        "“Sample” items are this application's own. “Official” fetches the dev files of JGLUE v1.3 (MARC-ja and JCoLA are not downloaded: without files of yours they fall back to samples). The test sets were published with v1.3; MARC-ja and JCoLA have none.",
    ),
    "data_sample": ("見本", "Sample"),
    "data_official": ("公式 JGLUE v1.3", "Official JGLUE v1.3"),
    "data_test": ("公式 JGLUE v1.3・テスト", "Official JGLUE v1.3, test sets"),
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
        "gemma-3-270m は付属です。ほかは一覧から選ぶか、Hub の ID（owner/name）・フォルダ・.gguf ファイルを入力すると、必要なら取得します",
        "gemma-3-270m comes with the application. Or choose another, or type a Hub id (owner/name), a folder or a .gguf file; what is not here is fetched",
    ),
    "model_info_public": ("このサーバーでは一覧のモデルだけを使えます", "This server runs the listed models only"),
    "format": ("プロンプト書式", "Prompt format"),
    "style": ("言い回し", "Wording style"),
    "shots": ("例題の数（few-shot）", "Examples (few-shot)"),
    "quantization": ("量子化", "Quantization"),
    "quantization_none": ("なし", "None"),
    "run": ("くらべる", "Compare"),
    "stop": ("止める", "Stop"),
    "filter_all": ("すべて", "All"),
    "filter_disagree": ("判定が分かれた", "Disagree"),
    "filter_only_a": ("A だけ正解", "Only A right"),
    "filter_only_b": ("B だけ正解", "Only B right"),
    "filter_form": ("形だけ違う", "Wrong form"),
    "filter_unreadable": (
        "読めない・途切れ・空",
        "Unreadable, cut off, empty",
    ),
    "empty_item": (
        "問題を一つ選ぶと、プロンプトと出力をここに並べて表示します。",
        "Choose an item to see prompts and outputs here.",
    ),
    "subset": ("サブセット", "Subset"),
    "metric": ("指標", "Metric"),
    "difference": ("差（B−A）", "Difference (B−A)"),
    "groups": (
        "壊れた問題・重複・train との重なりを除いた点",
        "Scores without faulty, repeated and leaked items",
    ),
    "groups_note": (
        "どの行も「すべての問題での点 → その問題を除いた点 [95 % 区間]」です。公式データの問題の欠陥は、モデルの出来とは別に点を動かします。",
        "Each row: the score over all items → the score without these items [95 % interval]. Faults of the official data move a score whatever the model does.",
    ),
    "group_left_out": ("除くもの", "Left out"),
    "group_items": ("除く問題数", "Items left out"),
    "group_faulty": ("本文の壊れた問題", "Questions about a damaged paragraph"),
    "group_repeated": ("前の問題と同じことを問う問題", "Items that ask what an earlier one asks"),
    "group_leaked": ("train のファイルにもある問題", "Items that are also in a train file"),
    "group_relabelled": ("v1.2 で正解が変わった問題", "Items whose label changed in v1.2"),
    "group_old_labels": ("v1.1 の正解では {}（全問）", "with the labels of v1.1: {} (all items)"),
    "verdict_a": ("A が上", "A is better"),
    "verdict_b": ("B が上", "B is better"),
    "verdict_undecided": ("まだ差があるとは言えない", "Cannot tell yet"),
    "verdict_none": ("比べられる値がない", "No values to compare"),
    "needed": ("この差を見分けるには約 {} 問", "about {} items would tell"),
    "reference_human": ("人間（参考、dev 全体）", "People (all of dev, for comparison)"),
    "reference_tohoku": ("東北大 BERT base・学習済み（参考）", "Tohoku BERT base, fine-tuned (for comparison)"),
    "reference_waseda": ("早稲田 RoBERTa large・学習済み（参考）", "Waseda RoBERTa large, fine-tuned (for comparison)"),
    "test_reference_human": (
        "人間ひとり（参考、非公開のテストセットでの値）",
        "One person (for comparison, on the unpublished test set)",
    ),
    "test_reference_tohoku": (
        "東北大 BERT base・学習済み（参考、非公開のテストセットでの値）",
        "Tohoku BERT base, fine-tuned (for comparison, on the unpublished test set)",
    ),
    "test_reference_waseda": (
        "早稲田 RoBERTa large・学習済み（参考、非公開のテストセットでの値）",
        "Waseda RoBERTa large, fine-tuned (for comparison, on the unpublished test set)",
    ),
    "notices": ("点を信じる前に", "Before you believe a score"),
    "mark_on_floor_default": (
        "下限（定数の答え）と差がない",
        "no better than the floor",
    ),
    "mark_on_floor_constant": (
        "下限（定数の答え）と差がない",
        "no better than the floor",
    ),
    "mark_below_floor": (
        "下限未満",
        "below the floor",
    ),
    "mark_no_correlation": ("0 と区別できない", "no better than 0"),
    "ranked_first": ("一位", "ranked first"),
    "error_ModelNotFoundError": ("そのモデルは見つかりません", "There is no such model"),
    "error_ModelAccessError": ("そのモデルを読む権限がありません", "The model may not be read"),
    "error_DeviceError": (
        "メモリまたは計算装置が足りません",
        "Memory or a device is missing",
    ),
    "error_ModelError": ("モデルを使えません", "The model cannot be used"),
    "error_NetworkError": (
        "サーバーに接続できません",
        "A server cannot be reached",
    ),
    "error_RunBusyError": ("その実行はほかのプログラムが書いています", "Another program is writing to this run"),
    "error_StoreError": ("保存された実行を使えません", "The stored run cannot be used"),
    "error_DataError": ("データのファイルを使えません", "The data file cannot be used"),
    "error_StyleError": ("言い回しのファイルを使えません", "The wording style cannot be used"),
    "error_UnknownNameError": ("知らない名前です", "An unknown name"),
    "error_InputError": ("このままではできません", "This cannot be done as asked"),
    "error_JglueAppError": ("できませんでした", "This could not be done"),
    "error_BusyError": ("すでに実行中です", "A run is going on already"),
    "busy": (
        "自分の実行がまだ続いています（別のタブかもしれません）。止めるか、終わるのを待ってください。",
        "A run of yours is already going on, perhaps in another tab. Stop it, or wait for its end.",
    ),
    "not_one_command": (
        "この実行は画面の設定だけでは表せません（乱数の種や長さの上限など）。作ったときのコマンドで続けてください。",
        "The settings of this page cannot express how this was made (a seed or a token limit, say). Go on with the command that made it.",
    ),
    "insight_below": (
        "{tasks} の点は、いつも同じ答えを出すだけで取れる点を下回っています。",
        "The scores on {tasks} are below what always giving one and the same answer scores.",
    ),
    "list_task": (
        "サブセット",
        "Subset",
    ),
    "list_every": (
        "全サブセット",
        "All subsets",
    ),
    "gone_side": (
        "（この実行は保存場所にもうありません）",
        "(this run is no longer stored)",
    ),
    "shipped_stays": (
        "この実行はアプリに付属のもので、削除できません。自分で作った実行を選んでください。",
        "This run came with the application and stays. Choose one that was made here.",
    ),
    "ranking_uneven": (
        "問題数の違う実行が並んでいます。同じ問題で比べるには、二つを選んで「この二つを比べる」を押してください。",
        "These runs answered different numbers of items. To compare two on the items both answered, pick them and press “Compare these two”.",
    ),
    "moves": (
        "▲▼ は、{} の順位から {} の順位への動きです。",
        "▲▼: places moved from the ranks under {} to those under {}.",
    ),
    "insight_shapeless": (
        "{total} 問のうち {shapeless} 問は、答えとして読めません。",
        "Of {total} outputs {shapeless} cannot be read as an answer.",
    ),
    "floor": (
        "下限（いつも同じ答え）",
        "Floor (best constant)",
    ),
    "n": ("問", "items"),
    "strict": ("厳密", "strict"),
    "lenient": ("寛容", "lenient"),
    "imputed": ("2.5 で補完", "filled with 2.5"),
    "distance": ("正解との差 {}", "off the gold by {}"),
    "choose": ("対数尤度", "log-likelihood"),
    "unreadable_count": (
        "厳密には読めない",
        "not readable strictly",
    ),
    "outcomes": ("答えの内訳", "Outcomes"),
    "outcomes_note": (
        "JSTS は正解との差が 0.5 以内なら「正解」と数えます（内訳の図だけの約束で、点数は相関係数です）。",
        "In this picture a JSTS answer within 0.5 of the gold counts as correct; its scores are correlations.",
    ),
    "outcome_correct": ("正解", "Correct"),
    "outcome_wrong_form": ("中身は正解、形だけ誤り", "Right answer, wrong form"),
    "outcome_wrong": ("不正解", "Wrong"),
    "outcome_unreadable": ("読み取れない", "Unreadable"),
    "knows": (
        "知っているのに書けない（対数尤度では正解を選び、文章は形が違う・読めない・途切れた・空）：{}",
        "Knows but cannot format (ranks the gold answer first; the text is in the wrong form, unreadable, cut off or empty): {}",
    ),
    "outcome_unfinished_thought": ("思考の途中", "Unfinished thought"),
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
        "Large figures are the strict reading (the output is exactly an answer) with its 95 % interval. “Lenient” forgives form; the gap is the cost of format. “Filled with 2.5” puts the middle of the scale for unreadable answers.",
    ),
    "average_of": ("主指標の平均（{}）", "Mean of the main metrics ({})"),
    "average_without": ("値のないサブセットがあるため平均なし（{}）", "No average: no value for {}"),
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
    "no_reading": ("読み取れない", "not readable"),
    "logprobs": (
        "各答えの起こりやすさ（%：答えの間での割合、右：対数尤度、○ 正解、◀ 一位）",
        "Likelihood of each answer (share among the answers in %, then log-likelihood; ○ gold, ◀ first)",
    ),
    "tokens": ("入力 {} トークン、出力 {} トークン、{} 秒", "{} tokens in, {} out, {} s"),
    "finish_length": ("長さの上限で打ち切り", "cut at the length limit"),
    "finish_overflow": (
        "プロンプトがコンテキスト長を超えています",
        "the prompt exceeds the context length",
    ),
    "shots_used": ("例題", "Examples"),
    "not_run": ("未実行", "Not run"),
    "loading": ("準備中…", "Preparing …"),
    "waiting": (
        "ほかの実行が終わるのを待っています（前に {} 件）…",
        "Waiting for other work to end ({} before this) …",
    ),
    "out_of_time": (
        "時間の上限に達したので止めました。もう一度押すと続きから始まります。",
        "Stopped at the time limit. Press again to go on from there.",
    ),
    "allow_bin": ("safetensors のないモデルで .bin の重みを読む", "Read .bin weights of models without safetensors"),
    "stopping": ("止めています…", "Stopping …"),
    "running": ("実行中", "Running"),
    "done": (
        "終わりました。「結果」にも保存されています。",
        "Done. It is kept under “Results” too.",
    ),
    "stopped": (
        "止めました。終わった分は保存済みで、同じ設定でもう一度押すと続きから始まります。",
        "Stopped. What is finished is kept; the same settings go on from there.",
    ),
    "incomplete": ("{} 問はエラーで、点数に入っていません。", "{} items ended in an error and are not scored."),
    "speed": ("{} 問/秒", "{} items/s"),
    "failed": ("できませんでした", "That did not work"),
    "fault": (
        "予期しない不具合です。記録番号 {} を添えてお知らせください。終わった分は保存されています。",
        "An unexpected fault. Please report it with the number {}. What was finished is kept.",
    ),
    "same": ("A と B が同じ設定です。どちらかを変えてください。", "A and B are the same. Change one of them."),
    "no_tasks": ("サブセットを一つ以上選んでください。", "Choose at least one subset."),
    "no_model": ("モデルを選ぶか、名前を入力してください。", "Choose a model, or type its name."),
    "too_many": ("問題数は 1 から {} までの整数です。", "The number of items is a whole number from 1 to {}."),
    "gone": (
        "この結果は保存場所にもうありません。もう一度実行してください。",
        "This result is no longer stored. Run it again.",
    ),
    "tab_compare": ("比べる", "Compare"),
    "tab_lab": ("書式を学ぶ", "Prompt lab"),
    "tab_full": ("全量実行", "Full run"),
    "tab_results": ("結果", "Results"),
    "tab_about": ("このアプリについて", "About"),
    "language": ("言語", "Language"),
    "settings": ("条件を変える", "Change the settings"),
    "tasks_info": (
        "MARC-ja：レビューの評価／JSTS：文の近さ／JNLI：含意関係／JSQuAD：文章から抜き出す／JCommonsenseQA：常識の五択／JCoLA：文の容認性（選んだときだけ。実行の平均には入れません）",
        "MARC-ja: sentiment of reviews · JSTS: similarity · JNLI: entailment · JSQuAD: answer from a paragraph · JCommonsenseQA: common sense, five choices · JCoLA: acceptability of a sentence (only if chosen, and not in a run's average)",
    ),
    "limit_info": ("空欄にすると全問", "Leave empty for all"),
    "method_info": (
        "自由生成は書いた文章を読み、順位づけは決まった答えの起こりやすさを比べます",
        "Free generation reads what is written; ranking compares how likely each fixed answer is",
    ),
    "same_model": ("A と同じモデル（重みを共有）", "Same model as A (shares the weights)"),
    "dtype": ("数値の精度", "Precision (dtype)"),
    "thinking": ("思考", "Thinking"),
    "thinking_is": ("思考：{}", "Thinking: {}"),
    "thinking_info": (
        "モデルに、答える前に考えさせるかどうかを選びます。プロンプト書式が chat で、モデルの対話テンプレートに思考の切り替えがあるとき（Qwen3 など）だけ効きます。それ以外では何も変わりません。",
        "Only for the format chat, with a model whose template has a switch for thinking (such as Qwen3). Elsewhere it changes nothing.",
    ),
    "thinking_off": ("なし", "Off"),
    "thinking_on": ("あり", "On"),
    "thinking_default": ("テンプレートの既定", "The template's default"),
    "thinking_tokens": ("思考の上限（トークン）", "Thinking limit (tokens)"),
    "thinking_tokens_info": (
        "答えの上限とは別に、思考に使えるトークン数です。0：思考と答えを合わせて、答えの上限に収めます。ふつうは 2048 です。",
        "Extra tokens for the thought. 0: thought and answer share the answer's limit. 2048 is usual.",
    ),
    "thinking_tokens_range": (
        "思考の上限は 0 から {} までの整数です。",
        "The thinking limit is a whole number from 0 to {}.",
    ),
    "repetition_penalty": ("繰り返しペナルティ", "Repetition penalty"),
    "repetition_penalty_is": ("繰り返しペナルティ：{}", "Repetition penalty: {}"),
    "repetition_penalty_info": (
        "プロンプトやそれまでの文章に一度出たトークンを選びにくくします。1：なし。2023 年の評価には 1.1 や 1.2 を使ったものがあります。書かせた文章だけに効きます。",
        "Makes tokens less likely that stand in the prompt or were written. 1: none. Some evaluations of 2023 used 1.1 or 1.2. It concerns generated text alone.",
    ),
    "repetition_penalty_range": (
        "繰り返しペナルティは 0 より大きい数です（例：1.2）。1 は「なし」です。",
        "The repetition penalty is a number above 0, such as 1.2; 1 is none.",
    ),
    "thought": ("思考（{} 文字、答えではありません）", "Thought ({} characters, no part of the answer)"),
    "thought_unfinished": (
        "終わっていない思考（{} 文字、答えではありません）",
        "Unfinished thought ({} characters, no answer)",
    ),
    "ranked_after": (
        "順位づけは、思考を閉じたこの文章のあとで行いました",
        "Answers were ranked after this text, whose thought is closed",
    ),
    "repeat": ("この条件のコマンドとリンク", "Command and link of these settings"),
    "origin_command": ("この比較を作り直すコマンド", "The command that makes this comparison anew"),
    "run_elsewhere": (
        "いまは別の比較を表示しています。この実行の結果は、終わったあとページを読み込み直すと表示されます。",
        "Something else is shown at the moment. Reload the page when this run is over to see what came of it.",
    ),
    "left_out_between": ("…（間の {} 文字を省略）…", "… ({} characters in between left out) …"),
    "repeat_command": ("同じことをするコマンド", "The command that does the same"),
    "repeat_link": ("この設定を開くリンク", "Link that opens these settings"),
    "copy": ("コピー", "Copy"),
    "copied": ("コピーしました", "Copied"),
    "linked": (
        "リンクの設定を読み込みました。「くらべる」を押すと始まります。",
        "The settings of the link are filled in. Press “Compare” to start.",
    ),
    "nothing_runs": ("いま実行中のものはありません。", "Nothing of yours is going on."),
    "all_items": ("全問", "all items"),
    "each_items": ("{} 問", "{} items"),
    "subset_count": (
        "{} サブセット",
        "subsets: {}",
    ),
    "shots_short": ("例題 {}", "{}-shot"),
    "no_shots": ("例題なし", "0-shot"),
    "shots_range": ("例題の数は 0 から {} までです。", "The number of examples is from 0 to {}."),
    "no_item": ("番号 {} の問題はありません。一覧から選んでください。", "There is no item {}. Choose one of the list."),
    "empty_board": ("「くらべる」を押すと、ここに点数が出ます。", "Press “Compare” and the scores appear here."),
    "showcase_pick": ("保存済みの比較", "Stored comparisons"),
    "showcase_examples": (
        "例題は何を直すか（ベースモデル、例題なし → 3 つ）",
        "What examples fix (base model, 0-shot → 3-shot)",
    ),
    "showcase_chat": ("ベースモデルと対話モデル（どちらも例題 3 つ）", "Base model and chat model (both 3-shot)"),
    "shipped": ("付属", "shipped"),
    "shipped_head": ("保存済みの比較", "A stored comparison"),
    "shipped_text": (
        "実際のモデルを実際に動かした結果です。何も実行せずに一問ずつ見られます。問題はすべてこのアプリ独自のもので、JGLUE の文は含みません。",
        "Real runs of real models; explore them item by item without running anything. All items are our own, none is from JGLUE.",
    ),
    "stored_head": ("保存された実行", "Stored runs"),
    "machine": ("{} コア・{} GB の計算機（{}、{}）", "{} cores, {} GB ({}, {})"),
    "insights": ("この比較から分かること", "What this comparison shows"),
    "scoreboard": ("点数表", "Scoreboard"),
    "see_items": ("その問題を見る", "See the items"),
    "how_to_read": ("点数の読み方", "How to read the scores"),
    "insight_better": (
        "{tasks} で上です（偶然とは言いにくい差）。",
        "Better on {tasks}, by more than chance would explain.",
    ),
    "insight_undecided": (
        "{tasks} では、この問題数ではまだ差があるとは言えません。",
        "On {tasks} this many items cannot tell the two apart yet.",
    ),
    "insight_gap": (
        "{task}：書いた文章では {text} 点、同じ答えを対数尤度で順位づけすると {ranked} 点。答えの中身より、書き方で失点しています。",
        "{task}: {text} by what it writes, {ranked} when the same answers are ranked by log-likelihood. Points are lost on form, not on the choice.",
    ),
    "insight_form": (
        "{total} 問のうち {shapeless} 問は答えとして読めず、{form} 問は中身は合っていて形だけ違います。",
        "Of {total} outputs {shapeless} cannot be read as an answer, and {form} are right in the wrong form.",
    ),
    "insight_floor": (
        "{tasks} の点は、いつも同じ答えを出すだけで取れる点と区別できません。",
        "The scores on {tasks} cannot be told from always giving one and the same answer.",
    ),
    "items_head": ("一問ごとに見る", "Item by item"),
    "list_filter": ("表示する問題", "Items shown"),
    "list_search": ("問題・答え・出力から探す", "Search questions, answers, outputs"),
    "list_sort": ("並べ替え", "Sort"),
    "list_items": ("問題の一覧（上下の矢印キーで移動）", "Items (move with the arrow keys)"),
    "list_count": ("{} 問", "{} items"),
    "list_none": (
        "この条件に合う問題はありません。ほかの絞り込みを選んでください。",
        "No item matches. Choose another filter or search.",
    ),
    "sort_order": ("元の順", "Original order"),
    "sort_a": ("A の判定順", "By A's outcome"),
    "sort_b": ("B の判定順", "By B's outcome"),
    "sort_apart": ("判定の離れた順", "Furthest apart first"),
    "filter_knows": ("知っているのに書けない", "Knows but cannot write it"),
    "asks_marc_ja": ("レビューの評価は肯定か否定か", "Is a product review positive or negative?"),
    "asks_jcola": ("日本語の文として容認できるか", "Is a sentence acceptable Japanese?"),
    "back_to_list": ("一覧へ", "To the list"),
    "previous": ("前の問題", "Previous item"),
    "next": ("次の問題", "Next item"),
    "open_in_lab": ("書式ラボで開く", "Open in the prompt lab"),
    "answer_starts": ("ここから答え", "the answer starts here"),
    "more_characters": ("（ほかに {} 文字）", "({} more characters)"),
    "protocols_of_item": ("採点方法ごとの判定（同じ出力）", "The same output under each scoring protocol"),
    "protocol": ("採点方法", "Protocol"),
    "protocol_official": (
        "JGLUE 論文の指標、出力が答えそのものなら正解",
        "the paper's metrics; the output must be the answer itself",
    ),
    "protocol_wandb-2023-0shot": (
        "2023 年の W&B 評価、読めなければ既定値",
        "the 2023 W&B evaluation; a default if unreadable",
    ),
    "protocol_wandb-2023-4shot": ("2023 年の W&B 評価（4-shot）", "the 2023 W&B evaluation, 4-shot"),
    "protocol_wandb-2023-10-0shot": (
        "2023 年 10 月からの W&B 評価（0-shot、バランス正解率も）",
        "the W&B evaluation from October 2023, 0-shot, with balanced accuracy",
    ),
    "protocol_stability-jp-capped": (
        "stability-jp と同じ採点。JSQuAD の答えは正解のトークン数まで（オラクル）",
        "scores as stability-jp; JSQuAD answers no longer than the gold one (an oracle)",
    ),
    "protocol_swallow-202411": (
        "Swallow の 2024 年 11 月の評価（llm-jp-eval 1.3.0、4-shot）",
        "Swallow's evaluation of November 2024 (llm-jp-eval 1.3.0, 4-shot)",
    ),
    "protocol_nejumi-4": (
        "Nejumi リーダーボード 4 の JGLUE の部分",
        "the JGLUE parts of Nejumi Leaderboard 4",
    ),
    "protocol_stability-jp": ("対数尤度で順位づけ（JSQuAD は文章）", "ranks by log-likelihood (JSQuAD by text)"),
    "protocol_llm-jp-eval": ("最初の空行まで、NFKC のあと完全一致", "up to the first blank line, equal after NFKC"),
    "protocol_flexeval": ("一文字も違わず一致", "equal to the character"),
    "protocol_lm-eval-ja": ("対数尤度で順位づけ（JSQuAD は文章）", "ranks by log-likelihood (JSQuAD by text)"),
    "right": ("正解", "right"),
    "wrong_short": ("不正解", "wrong"),
    "not_covered_short": ("採点しない", "not scored"),
    "unscored_short": (
        "採点対象なし",
        "nothing to score",
    ),
    "left_s": ("残り約 {} 秒", "about {} s left"),
    "left_min": ("残り約 {} 分", "about {} min left"),
    "left_h": ("残り約 {} 時間", "about {} h left"),
    "cannot_render": (
        "この書式は使えません",
        "This format cannot be used here",
    ),
    "public_head": ("公開サーバーの約束", "This is a public server"),
    "public_models": (
        "使えるのは一覧にある {} 個のモデルです（{}）。ほかのモデルは、手元の計算機で動かしてください。",
        "It runs the {} listed models ({}). Run the application on your own machine for others.",
    ),
    "public_items": (
        "一度に各サブセット {} 問まで、{} 分まで。時間が来たら止まり、終わった分は残ります。",
        "At most {} items of a subset and {} minutes a run; what is finished by then is kept.",
    ),
    "public_one": (
        "一人が同時に実行できるのは一つです。ほかの人の実行が終わるまで待つことがあります。",
        "One run at a time for each visitor; yours may wait for others to end.",
    ),
    "public_own": (
        "見られるのは自分の実行と付属の比較だけです。全量実行・読み込み・削除はできません。",
        "You see your own runs and those that came with the application. Full runs, import and deletion are off.",
    ),
    "lab_course": (
        "全 6 ステップの講座",
        "Six steps",
    ),
    "lab_one": ("一問をいろいろな書式で", "One item, many formats"),
    "lab_sweep": ("書式だけを変えてみる", "Sweep over formats"),
    "lab_item": ("問題", "Item"),
    "lab_pick": ("問題を選ぶ（下の欄は書き換えられます）", "Choose an item (the fields below can be edited)"),
    "lab_ways": ("聞き方", "Ways to ask"),
    "lab_look": ("トークンごとに見る", "Show the tokens"),
    "lab_run": ("答えさせる", "Ask the model"),
    "lab_reading": ("トークナイザを読み込んでいます…", "Loading the tokenizer …"),
    "lab_tokens": ("{} トークン", "{} tokens"),
    "lab_limit": ("答えは {} トークンまで", "answers up to {} tokens"),
    "lab_context": (
        "コンテキスト長 {}",
        "context of {}",
    ),
    "lab_left_out": ("（間の {} トークンを省略）", "({} tokens in between left out)"),
    "lab_prompt_tokens": ("プロンプトのトークン", "Tokens of the prompt"),
    "lab_answers": ("許される答えとそのトークン数", "Legal answers and the tokens they take"),
    "lab_stop": (
        "停止文字列",
        "Stop strings",
    ),
    "lab_no_stop": ("なし", "none"),
    "lint_none": (
        "点検：気になる点はありません",
        "Check: nothing found",
    ),
    "lint_level_error": ("誤り", "Error"),
    "lint_level_warning": ("注意", "Warning"),
    "lint_level_info": ("参考", "Note"),
    "gold_lines": (
        "1 行に 1 つ",
        "one per line",
    ),
    "answered": ("答えました", "Answered"),
    "course": ("講座", "Course"),
    "course_step": ("ステップ", "Step"),
    "course_run": ("ためしてみる", "Try it"),
    "course_next": ("次のステップ", "Next step"),
    "course_look": ("見どころ：", "What to look at:"),
    "course_base_title": ("1. ベースモデルに質問すると", "1. What a base model does with a question"),
    "course_base_text": (
        "ベースモデルは、質問に答えるのではなく「続きを書く」ように学習したモデルです。商品レビューを見せて「肯定か否定か」と聞いても、レビューの続きや感想を書き始めることがあります。\n「ためしてみる」を押すと、付属の Gemma 3 270M に一問聞きます。",
        "A base model has learnt to continue texts, not to answer questions. Shown a product review and asked “肯定 or 否定?”, it may well go on with the review.\nPress “Try it” to ask the embedded Gemma 3 270M one question.",
    ),
    "course_base_look": (
        "出力はレビューらしい文で、「肯定」とも「否定」とも書かれていないことが多いはずです。厳密にも寛容にも読めない答えは 0 点です。一方、棒グラフを見てください。二つの答えのどちらが起こりやすいかは、モデルの中に確かにあります。",
        "The output usually reads like a review and names neither label: no reading finds an answer, so it scores 0. Now look at the bars: which of the two answers is likelier is in the model all the same.",
    ),
    "course_form_title": ("2. 「ア」と「塩」で点が変わる", "2. Why “ア” and “塩” score differently"),
    "course_form_text": (
        "五択の問題で、選択肢の記号（ア〜オ）だけを書くように頼みます。モデルが記号ではなく選択肢の言葉を書くと、中身が合っていても、多くの採点方法では不正解です。2023 年の評価でも、「2」と書くところに「絵本」と書いて点を落とす例が多く見られました。",
        "In a question with five choices the model is asked for the letter of a choice and nothing else. If it writes the words of the choice instead, the answer may be right and still count as wrong. In the 2023 evaluation, too, many answers said “絵本” where “2” was asked for.",
    ),
    "course_form_look": (
        "「厳密な読み取り」と「寛容な読み取り」を比べてください。言葉で正解を書いても、厳密には読めません。下の表では、同じ出力が採点方法によって ○ にも × にもなります。",
        "Compare the strict and the lenient reading: the right word is no letter. In the table below, the same output is right under some protocols and wrong under others.",
    ),
    "course_shots_title": ("3. 例題が直すもの、直さないもの", "3. What examples fix, and what they do not"),
    "course_shots_text": (
        "同じ問題を、例題なし（A）と例題 3 つ（B）で聞きます。例題は、答えの「形」を教えるのにとても効きます。答えの「中身」まで良くなるとは限りません。",
        "The same item without examples (A) and with three (B). Examples are very good at teaching the form of an answer. They do not always make the answer better.",
    ),
    "course_shots_look": (
        "B は答えの形で書くようになります。では、正解でしょうか。小さなモデルは例題のラベルに引っぱられて、いつも同じ答えを書くことがあります。点数表の「下限」は、それを見抜くためにあります。",
        "B now writes in the form asked for. Is it right? A small model may be pulled by the labels of the examples and give one answer always. The floors on the scoreboard are there to notice that.",
    ),
    "course_chat_title": ("4. 対話テンプレート", "4. Chat templates"),
    "course_chat_text": (
        "対話モデルは、<|im_start|> のような特別な印で話者を区切った文章で学習しています。同じ言葉でも、その印があるかないかで答えが変わります。下は付属の比較から、ベースモデル（A）と対話モデル（B）に実際に渡された一問です。B のプロンプトで、印の付いた部分を見てください。\n「ためしてみる」では、ベースモデルに二つの書式（alpaca と rinna）で同じ問題を聞きます。",
        "Chat models were trained on texts whose speakers are told apart by marks such as <|im_start|>. The same words with or without those marks can get other answers. Below is an item of the shipped comparison as a base model (A) and a chat model (B) really saw it: look at the marks in B's prompt.\n“Try it” asks the base model the same in two formats, alpaca and rinna.",
    ),
    "course_chat_look": (
        "言葉は同じで、並べ方だけが違います。答えや棒の長さはどう変わりましたか。「書式だけを変えてみる」で、何問変わるかを数えられます。",
        "The words are the same, only their layout differs. How did the answers and the bars change? “Sweep over formats” counts how many items flip.",
    ),
    "course_ranking_title": ("5. 順位づけと自由生成", "5. Log-likelihood and free generation"),
    "course_ranking_text": (
        "採点には二つの流儀があります。書かせた文章を読む「自由生成」と、決まった答えのうちどれが起こりやすいかを比べる「対数尤度の順位づけ」です。順位づけでは、形を間違えることがありません。",
        "There are two schools of scoring: read what the model writes, or compare how likely each fixed answer is. A ranking cannot get the form wrong.",
    ),
    "course_ranking_look": (
        "文章は答えの形をしていないのに、棒では正解が一位なら、「知っているのに書けない」です。付属の比較では MARC-ja の文章の点が 0.00、順位づけの点が 0.68 でした。",
        "If the text is no answer and yet the gold answer ranks first, the model knows but cannot write it. In the shipped comparison MARC-ja scores 0.00 by text and 0.68 by ranking.",
    ),
    "course_leaderboards_title": ("6. 二つのリーダーボードが食い違うわけ", "6. Why two leaderboards disagree"),
    "course_leaderboards_text": (
        "同じ出力でも、採点方法によって点は変わります。読めない答えを「positive」とみなす採点方法もあれば、不正解とする採点方法、文章をまったく見ない採点方法もあります。",
        "The same output scores differently under different protocols. Some take an unreadable answer for “positive”, some count it wrong, some never look at the text.",
    ),
    "course_leaderboards_look": (
        "「採点方法ごとの判定」の表を上から読んでください。○ と × の理由がそれぞれ書いてあります。「結果」の画面では、採点方法を変えると順位が動くのを見られます。",
        "Read the table of protocols: each verdict comes with its reason. On the Results page the ranks move when you choose another protocol.",
    ),
    "sweep": ("書式の比較", "Formats compared"),
    "sweep_lead": (
        "同じ問題・同じ言い回しのまま、書式だけを変えて聞き、答えがいくつ変わるか（反転率）を数えます。",
        "Ask the same items in the same words and change the format alone: how many answers flip?",
    ),
    "sweep_items": ("問題数", "Items"),
    "sweep_formats": ("書式（最初のものと比べます）", "Formats (compared with the first)"),
    "sweep_formats_info": (
        "chat には対話テンプレートのあるモデルが必要です",
        "chat needs a model with a chat template",
    ),
    "sweep_run": ("比べてみる", "Sweep"),
    "sweep_now": ("{}・{} を実行中", "{} · {}"),
    "flips": ("反転率", "Flip rate"),
    "ranked_flips": ("順位づけの反転率", "Flip rate, ranking"),
    "flips_note": (
        "反転率は、最初の行と答えが変わった問題の割合です（正誤を問いません）。読めない答えどうしは変わらないものと数えます。",
        "A flip is another answer than in the first row, right or wrong. Two unreadable answers count as the same.",
    ),
    "full_lead": (
        "dev セットの全問を、画面を閉じても続く形で実行します。再読み込みしても進み具合に戻れ、止まったり落ちたりしたあとは「続きから始める」で再開できます。ほかの画面で短い実行をすると、その間は順番を譲ります。",
        "Every item of the split, in the background: it goes on when the page is closed, and a reload finds it again. After a stop or a crash, “Go on” resumes it. Shorter work on the other tabs is let in between.",
    ),
    "full_run": ("全問を実行", "Run all items"),
    "full_public": (
        "公開サーバーでは全量実行はできません。上のコマンドを手元の計算機で動かしてください。",
        "A public server makes no full runs. Run the command on your own machine.",
    ),
    "full_empty": (
        "まだ結果はありません。「全問を実行」を押すと、進み具合と点数がここに出ます。",
        "Nothing yet. Press “Run all items”; progress and scores appear here.",
    ),
    "unfinished": ("途中の実行", "Unfinished runs"),
    "unfinished_info": ("終わった問題はやり直しません", "What is finished is not done again"),
    "go_on": ("続きから始める", "Go on"),
    "open_items": ("一問ずつ見る（「比べる」で開く）", "See it item by item (in Compare)"),
    "results_data_info": (
        "見本と公式の点は比べられないので、別の表にします",
        "Scores on samples and on JGLUE say nothing about each other: one table each",
    ),
    "damaged_run": ("読めない実行があります。{}", "A run cannot be read. {}"),
    "results_tasks": ("順位に数えるサブセット", "Subsets that count"),
    "results_protocol": ("採点方法", "Scoring protocol"),
    "results_protocol_info": ("保存された同じ出力を採点し直します", "The same stored outputs, scored again"),
    "results_against": ("順位を見比べる採点方法", "Protocol to compare ranks with"),
    "tab_audit": ("スコアを調べる", "Audit a score"),
    "audit_lead": (
        "論文やリーダーボードで見たスコアを入れると、そのスコアが何を意味しうるかを調べます。いつも同じ答えを返したときのスコアではないか、何問中何問の正解か、どのくらい確かか、公表されたどのスコアと区別できないか。モデルも実行も要りません。",
        "Enter a score from a paper or a leaderboard to see what it may stand for: whether one constant answer scores the same, how many right answers of how many it is, how certain it is, and from which published scores it cannot be told. No model and no run is needed.",
    ),
    "audit_task": ("サブセット", "Subset"),
    "audit_score": ("スコア", "Score"),
    "audit_score_info": (
        "書いてあるとおりに入れてください（桁数を手がかりにします）",
        "As it is printed: its number of digits is a clue",
    ),
    "audit_scale": ("表記", "Scale"),
    "audit_by_value": ("自動判定", "By its value"),
    "audit_fraction": ("割合（0〜1）", "Fraction (0 to 1)"),
    "audit_percent": ("百分率（0〜100）", "Percentage (0 to 100)"),
    "audit_n": ("問題数", "Number of items"),
    "audit_n_info": (
        "分からなければ空のままに。知られている問題数を試します",
        "Leave it empty if you do not know: known numbers are tried",
    ),
    "audit_unknown": ("分からない", "Not known"),
    "audit_metric": ("指標", "Metric"),
    "audit_system": ("採点したシステム", "System"),
    "audit_ask": ("調べる", "Audit"),
    "audit_board": ("リーダーボード全体を調べる", "A whole leaderboard"),
    "audit_paste": ("表を貼り付ける", "Paste a table"),
    "audit_paste_info": (
        "CSV・TSV・Markdown の表・JSON。一行に一モデル、列の名前はサブセット（JNLI、JSQuAD EM など）。上で選んだ表記とシステムが使われます",
        "CSV, TSV, a Markdown table or JSON: a row for each model, columns named after subsets (JNLI, JSQuAD EM). The scale and system chosen above apply",
    ),
    "audit_look": ("表を調べる", "Audit the table"),
    "audit_swallow": ("Swallow の表で試す", "Try it on the Swallow leaderboard"),
    "audit_file": ("または、ファイルを選ぶ", "Or choose a file"),
    "audit_no_score": ("スコアを入れてください。例：.301561", "Enter a score first, such as .301561."),
    "audit_no_table": ("先に表を貼り付けてください。", "Paste a table first."),
    "audit_alert": ("注意すること", "Be careful"),
    "audit_note": ("分かること", "What can be said"),
    "audit_info": ("そのほか", "Details"),
    "audit_nearest": ("近い公表値とその出典", "The nearest published scores and their sources"),
    "audit_told": ("区別", "Told apart"),
    "audit_apart": ("できる", "yes"),
    "audit_not_apart": ("できない", "no"),
    "audit_source": ("出典", "Source"),
    "audit_ranking": ("順位と区間：", "Ranking with intervals:"),
    "audit_interval": ("95 % 区間", "95 % interval"),
    "audit_alike": ("区別できないモデル", "Cannot be told from"),
    "leaderboard": ("リーダーボード", "Leaderboard"),
    "ranking_empty": (
        "このデータの実行はまだありません。「比べる」か「全量実行」で実行すると、ここに並びます。",
        "No run over this data yet. Runs made on Compare or Full run are listed here.",
    ),
    "ranking_missing": ("{} のスコアがない", "no score for {}"),
    "rank": ("順位", "Rank"),
    "run_name": ("実行", "Run"),
    "average": ("平均", "Average"),
    "pick": ("選ぶ", "Pick"),
    "moved_up": ("{} つ上がった", "up by {}"),
    "moved_down": ("{} つ下がった", "down by {}"),
    "open_pair": ("この二つを比べる", "Compare these two"),
    "radar": ("サブセットごとの主指標（外側が 1）", "Main metric of each subset (the rim is 1)"),
    "bars": ("主指標と 95 % 区間", "Main metrics with 95 % intervals"),
    "why": ("なぜ点が違うのか", "Why two systems disagree"),
    "why_info": (
        "同じ出力に対する二つの採点方法の違いを、採点ルール一つずつに分けて示します。ルールは左の採点方法から順に切り替えるので、向きを変えると途中の値も変わります。対象は上で選んだ A の実行です。",
        "The difference between two protocols on the same outputs, one decision at a time. Decisions are switched in order, beginning with the first protocol’s, so the other direction has other steps. The run is A above.",
    ),
    "why_from": ("この採点方法から", "From this protocol"),
    "why_to": ("この採点方法へ", "To this protocol"),
    "why_show": ("違いを分けて見る", "Take the difference apart"),
    "way_decision": ("採点ルール", "Decision"),
    "way_moved": ("判定が変わる問題", "Items it moves"),
    "way_up": ("{} 問がよくなる", "{} up"),
    "way_down": ("{} 問が悪くなる", "{} down"),
    "way_left_out": ("{} 問を除く", "{} left out"),
    "way_taken_in": ("{} 問を加える", "{} taken in"),
    "way_otherwise": ("{} 問の読みか点が変わる", "{} read or scored otherwise"),
    "way_none": ("なし", "none"),
    "way_still": ("この実行では影響のない違い（{}）", "Differences that move nothing in this run ({})"),
    "way_nothing": ("なし", "nothing"),
    "way_output": ("出力", "output"),
    "way_read": ("読み：", "read as"),
    "way_same": ("{metric} はどちらでも {score} です。", "{metric} is {score} under both."),
    "way_largest": (
        "{metric} は {start} から {end} になります（{difference}）。影響が最も大きいのは「{decision}」（{before} → {after}）で、{change} です。",
        "{metric} goes from {start} to {end} ({difference}). The largest step is “{decision}” ({before} → {after}): {change}.",
    ),
    "way_missing": ("{}は含まれません。{}", "{} is left out. {}"),
    "way_other": (
        "出力そのものを変える設定（モデルをもう一度実行する必要があります）",
        "Decisions that shape the outputs (they need another run of the model)",
    ),
    "way_run": ("この採点方法の設定で実行するには：", "To run a model with the settings of this protocol:"),
    "manage": ("保存された実行を扱う", "Keep, move, delete"),
    "manage_run": ("実行", "Run"),
    "choose_run": ("実行を一つ選んでください。", "Choose a run first."),
    "export": ("書き出す", "Export"),
    "export_format": ("形式", "Format"),
    "export_info": (
        "jsonl・csv・parquet は一問一行、zip は実行フォルダごと。ほかは別のツールの形式で、上の採点方法による点数が入ります",
        "jsonl, csv, parquet: one row an item; zip: the whole run folder; the others: what other projects read, "
        "with the scores of the protocol above",
    ),
    "export_file": ("ファイル", "File"),
    "export_done": ("{} ができました。下からダウンロードできます。", "{} is ready to download."),
    "import": (
        "実行（.zip）や、ほかの評価ツールのログ（lm-eval・flexeval・llm-jp-eval・Inspect）を読み込む",
        "Import a run (.zip), or a log of another harness (lm-eval, flexeval, llm-jp-eval, Inspect)",
    ),
    "import_partial": ("一部の問題だけでもよい", "Accept a log of only some of the items"),
    "import_model": ("モデルの名前（ログにないとき）", "The model's name, where the log has none"),
    "import_info": (
        "ログに全部の問題の答えがないときや、対応する問題が見つからない答えがあるとき",
        "For logs that lack items, or have answers to items that are not found",
    ),
    "import_done": ("読み込みました：{}", "Imported: {}"),
    "delete": ("選んだ実行を削除", "Delete the chosen run"),
    "delete_ask": ("{} を削除します。元には戻せません。", "{} will be deleted for good."),
    "delete_yes": ("削除する", "Delete it"),
    "delete_no": ("やめる", "Keep it"),
    "deleted": ("{} を削除しました。", "{} was deleted."),
    "wandb": ("Weights & Biases へ送る", "Send to Weights & Biases"),
    "wandb_when_done": ("終わったら W&B へ送る", "Send it to W&B when it is done"),
    "wandb_what": ("送るもの", "What to send"),
    "wandb_one": ("「実行」で選んだ一つ", "The run chosen above"),
    "wandb_pair": ("A と B と、その比較", "A, B and their comparison"),
    "wandb_project": ("プロジェクト", "Project"),
    "wandb_project_info": ("空なら jglue（またはサーバーの設定）", "Empty: jglue, or as the server is set"),
    "wandb_entity": ("エンティティ（ユーザー・チーム）", "Entity (user or team)"),
    "wandb_entity_info": ("空なら、キーの持ち主", "Empty: the key's own"),
    "wandb_key": ("API キー", "API key"),
    "wandb_key_info": (
        "この送信だけに使い、残しません",
        "For this push only, and kept nowhere",
    ),
    "wandb_key_info_own": (
        "この送信だけに使います。空ならサーバーのキー",
        "For this push only. Empty: the server's own",
    ),
    "wandb_go": ("送る", "Send"),
    "wandb_sending": ("W&B へ送っています。", "Sending to W&B."),
    "wandb_sent": (
        "W&B に届きました。もう一度送っても、同じ実行が更新されるだけです。",
        "It is at W&B. Sending it again updates the same runs.",
    ),
    "wandb_rows": ("表の行数：", "Rows of its tables:"),
    "wandb_stopped": (
        "送信を止めました。届いた分は残ります。もう一度送ると、同じ実行が最後まで届きます。",
        "Stopped. What had arrived stays; sending again completes the same runs.",
    ),
    "no_common_tasks": (
        "選んだサブセットを、{} と {} の両方では採点できません。ほかのサブセットを選んでください。",
        "None of the chosen subsets is scored by both {} and {}. Choose others.",
    ),
    "tasks_left_out": (
        "{} は {} か比較先の採点方法にないため、順位に数えていません。",
        "{} is left out: {}, or the protocol it is compared with, does not score it.",
    ),
    "about_jglue": (
        "### JGLUE とは\nJGLUE は、Yahoo! JAPAN 研究所と早稲田大学河原研究室が作った日本語の言語理解ベンチマークです。ここでは主に五つのサブセットを扱います：MARC-ja（レビューの肯否）、JSTS（文の類似度）、JNLI（含意関係）、JSQuAD（読解）、JCommonsenseQA（常識の五択）。このアプリは公式リポジトリの v1.3.0 を取得し、チェックサムを確かめてから使います。",
        "### What JGLUE is\nJGLUE is a benchmark of Japanese language understanding by Yahoo Japan Corporation and Kawahara Lab, Waseda University. Five subsets are used here by default: MARC-ja (sentiment of reviews), JSTS (similarity), JNLI (entailment), JSQuAD (reading) and JCommonsenseQA (common sense). The files come from the official repository at tag v1.3.0 and are verified by checksum.",
    ),
    "about_marc": (
        "### MARC-ja の現状\nMARC-ja のもとになった Amazon のレビューは配布が終わっているため、公式の MARC-ja は取得できません。自分のファイルがあれば `JGLUE_DATA_DIR` のフォルダに置くと使えます。なければこのアプリ独自の見本 44 問で代わりをし、数字の横に必ず「見本」と書きます。",
        "### The state of MARC-ja\nThe Amazon reviews behind MARC-ja are no longer distributed, so the official files cannot be fetched. Put your own file into the folder of `JGLUE_DATA_DIR`; otherwise our 44 sample reviews stand in, and every number says so.",
    ),
    "about_jcola": (
        "### JCoLA\nJCoLA（染谷・杉本・大関）は JGLUE の六つ目のサブセットで、文が日本語として容認できるかを問います。文は言語学の本や論文から取られ、権利は元の著者や出版社にあるため、このアプリは取得しません。GitHub の osekilab/JCoLA から `data/jcola-v1.0` を自分で入手し、`JGLUE_DATA_DIR` のフォルダに置くと使えます。なければこのアプリ独自の見本 44 文で代わりをします。選んだときだけ実行し、実行の平均には入れません。順位表でも、選んだときだけ数えます。",
        "### JCoLA\nJCoLA (Someya, Sugimoto and Oseki) is the sixth subset of JGLUE: is a sentence acceptable Japanese? Its sentences come from books and articles on linguistics and belong to their authors and publishers, so this application fetches none. Get `data/jcola-v1.0` from osekilab/JCoLA on GitHub yourself and put it into the folder of `JGLUE_DATA_DIR`; otherwise our 44 sample sentences stand in. It runs only where it is chosen and is not in a run's average; rankings count it only where it is chosen there.",
    ),
    "about_metrics": (
        "### 点数の読み方\n指標は JGLUE 論文のもの（正解率、ピアソン・スピアマン相関、完全一致と文字 F1）で、問題数と 95 % 区間を添えます。「厳密」は出力が答えそのもの、「寛容」は答えが一つに定まれば正解とする読み方で、その差が書式の代償です。「下限」は、いつも同じ答えを出すだけで取れる点です。",
        "### How scores are read\nMetrics are those of the JGLUE paper (accuracy, Pearson and Spearman, exact match and character F1), each with its number of items and a 95 % interval. Strict: the output is exactly an answer. Lenient: one answer can be recovered. The gap is the cost of format. The floor is what one constant answer scores.",
    ),
    "about_protocols": (
        "### 採点方法\n保存された出力はそのままに、ほかの採点方法で採点し直せます：official、wandb-2023（2023 年 6 月・8 月・10 月）、stability-jp（正解の長さによる上限の有無）、llm-jp-eval、swallow-202411、nejumi-4、flexeval、lm-eval-ja。どれも公開されているコードの採点ルールを一つずつ実装し直したものです。",
        "### Protocols\nStored outputs are never changed and can be scored otherwise: official, wandb-2023 (as it was in June, August and October 2023), stability-jp (with or without its length cap by the gold answer), llm-jp-eval, swallow-202411, nejumi-4, flexeval and lm-eval-ja. Each decides, decision by decision, as the published code of its system does.",
    ),
    "decisions_of": ("ルールと出典を見る採点方法", "Show the decisions of a protocol, with their sources"),
    "decisions_variant": ("{} の変種です。", "A variant of {}."),
    "about_stored": (
        "### どこに何が残るか\n実行は `runs/<id>/` に、設定（manifest.json）、問題（items.jsonl）、出力（records.jsonl）として残ります。点数は残さず、見るたびに出力から計算します。データと変換したモデルはキャッシュのフォルダにあります。",
        "### What is stored where\nEach run lies in `runs/<id>/`: its settings (manifest.json), items (items.jsonl) and outputs (records.jsonl). Scores are not stored but computed from the outputs. Downloads and converted models lie in the cache folder.",
    ),
    "about_privacy": (
        "### 通信とクッキー\nこの画面はほかのサーバーに何も送りません（解析もフォントも外部からは読みません）。ただし「Weights & Biases へ送る」を押したときだけ、選んだ実行（問題文・出力・点数）を送ります。API キーはその送信だけに使い、保存しません。手元の MARC-ja のように配れない文を含む実行は、非公開のプロジェクトへ送ってください。クッキーは二つだけです：再読み込みのあとに自分の実行へ戻るための名前と、選んだ言語。",
        "### Network and cookies\nThis page asks nothing of any other host: no analytics, no fonts, no scripts. Only “Send to Weights & Biases” sends something: the chosen run with its questions, outputs and scores. The API key is used for that push and kept nowhere. A run with texts that must not be shared, such as your own MARC-ja file, belongs in a private project. It keeps two cookies: a name by which a reload finds your run, and the language you chose.",
    ),
    "about_licences": (
        "### ライセンス\nコード・見本の問題・言い回し：Apache-2.0。JGLUE：CC BY-SA 4.0（このアプリには含まれません）。付属の Gemma 3 270M：Gemma Terms of Use。",
        "### Licences\nCode, sample items and wording: Apache-2.0. JGLUE: CC BY-SA 4.0, not part of this application. The embedded Gemma 3 270M: Gemma Terms of Use.",
    ),
    "about_programs": (
        "### プログラムから\n画面でできることは、すべて API でもできます（画面の下の「API」）。`python -m jglue_app serve --mcp` で起動すると MCP のツールにもなります。コマンドラインは `python -m jglue_app --help` をご覧ください。",
        "### For programs\nEverything on this page is an API endpoint too (see “API” at the foot of the page), and an MCP tool when started with `python -m jglue_app serve --mcp`. For the command line see `python -m jglue_app --help`.",
    ),
    "asks_jsts": ("二つの文の意味の近さ（0〜5）", "How similar are two sentences (0–5)?"),
    "asks_jnli": ("前提から仮説が言えるか", "Does the premise entail the hypothesis?"),
    "asks_jsquad": ("文章から答えを抜き出す", "Copy the answer out of a paragraph"),
    "asks_jcommonsenseqa": ("常識の五択", "Common sense, five choices"),
}

LINT: dict[str, tuple[str, str, str]] = {
    "answer_too_long": (
        "答えが長さの上限に入らない",
        "An answer is longer than the limit",
        "ラベルや答えを書ききるのに必要なトークン数が、書いてよい数を超えています。上限を上げるか、短いラベルにしてください。",
    ),
    "missing_stop": (
        "停止文字列がない",
        "No stop string",
        "終わりの印を書かないモデルは上限まで書き続け、続きも答えとして読まれます。改行などを停止文字列にしてください。",
    ),
    "stop_in_answer": (
        "停止文字列が答えの中にある",
        "A stop string stands in an answer",
        "答えの途中で切られてしまいます。ほかの文字列を選んでください。",
    ),
    "shot_imbalance": (
        "例題のラベルが偏っている",
        "The examples' labels are uneven",
        "モデルは多く見たラベルをくり返しがちです。ラベルをそろえて選んでください（balanced）。",
    ),
    "shot_repeated": ("同じ例題が二度ある", "An example stands twice", "例題の数を減らしてください。"),
    "uneven_labels": (
        "ラベルの長さがふぞろい",
        "Labels take unequal numbers of tokens",
        "対数尤度の合計は、トークンの少ないラベルに有利です。",
    ),
    "double_bos": (
        "先頭の印（BOS）が二重",
        "BOS stands twice",
        "文章にもトークナイザにも入っています。文章から除いてください。",
    ),
    "missing_bos": (
        "先頭の印（BOS）がない",
        "BOS is missing",
        "先頭の印つきで学習したモデルは、答えが悪くなることがあります。",
    ),
    "opening_tokens": (
        "BOS 以外の印で始まる",
        "Texts open with other tokens than BOS",
        "トークナイザが文章の前に付ける印を、そのまま一度だけ付けています。付けないプログラムとは点が変わります。",
    ),
    "round_trip": (
        "トークンから元の文章に戻らない",
        "Text does not come back from its tokens",
        "モデルが読むのは、変わったあとの文章です。トークナイザが保つ文字で書いてください。",
    ),
    "tokenizer_files": (
        "トークナイザのファイルが食い違う",
        "Two tokenizer files disagree",
        "同じモデルの二つのファイルが、別のトークンを作ります。ここでは tokenizer.json を使います。",
    ),
    "no_eos": (
        "終わりの印（EOS）がない",
        "The model has no EOS",
        "答えは、停止文字列か長さの上限でしか終わりません。",
    ),
    "adds_eos": (
        "トークナイザが終わりの印を足す",
        "The tokenizer adds EOS",
        "ここでは外しています。ほかのプログラムでは付いたまま採点されることがあります。",
    ),
    "eos_after_prompt": (
        "プロンプトが終わりの印で終わる",
        "The prompt ends with EOS",
        "モデルには話が終わったように見えます。文章から除いてください。",
    ),
    "turn_end": (
        "話者の終わりの印で止まらない",
        "Generation does not end at the turn's end",
        "次の話者の分まで書き続けることがあります。",
    ),
    "chat_template_unused": (
        "対話テンプレートを使っていない",
        "The chat template is not used",
        "対話で学習したモデルなら、書式 chat も試してください。",
    ),
    "thought_opened": (
        "プロンプトが思考を開く",
        "The prompt opens a thought",
        "閉じる印のあとが答えになります。閉じなければ、答えはありません。",
    ),
    "thought_unknown": (
        "知らない印で終わる",
        "The prompt ends with a mark that is not known",
        "どこで思考が終わるか分からないため、知っている閉じる印のない出力からは何も読みません。思考なしで使ってください。",
    ),
    "thinking_ignored": (
        "思考の切り替えが効かない",
        "The switch for thinking has no effect",
        "プロンプトに思考の切り替えがなく、モデルは思考なしのときと同じように答えます。書式 chat と、テンプレートに思考の切り替えがあるモデルを選んでください。",
    ),
    "thought_limit": (
        "思考に上限の余裕がない",
        "No room for a thought",
        "思考と答えが同じ上限を分け合い、長い思考のあとには答えが残りません。思考の上限を別に指定してください。",
    ),
    "thought_limit_unused": (
        "思考の上限が効かない",
        "The thinking limit has no effect",
        "プロンプトが思考を開きません。モデルが自分から思考を書いた場合だけ、その思考を制限します。",
    ),
    "stop_in_thought": (
        "停止文字列は思考のあとで効く",
        "Stop strings wait for the answer",
        "思考を途中で切らないよう、閉じたあとの答えだけを止めます。",
    ),
    "ranked_in_thought": (
        "順位づけの前に思考を閉じる",
        "The thought is closed before ranking",
        "思考の中でラベルを採点しないよう、思考を閉じたプロンプトのあとで順位をつけます。",
    ),
    "token_boundary": (
        "プロンプトと答えの境目でトークンが変わる",
        "Tokens merge across prompt and answer",
        "書くときには通らない位置から採点されます。合図の終わりの文字を変え、空白を入れないでください。",
    ),
    "answer_tokens": (
        "答えだけのときとトークンが違う",
        "The answer's tokens differ when it stands alone",
        "プロンプトと答えを別々に区切るプログラムでは、点が変わります。",
    ),
    "context_overflow": (
        "コンテキスト長を超える",
        "Longer than the context",
        "その問題には答えが出ません。例題を減らしてください。",
    ),
    "beyond_vocabulary": (
        "モデルにないトークン",
        "Token without an embedding",
        "実行は失敗します。重みに付属のトークナイザを使うか、このトークンを使わない書式を選んでください。",
    ),
    "unknown_tokens": (
        "トークナイザの知らない文字",
        "Characters unknown to the tokenizer",
        "モデルには見えない文字です。日本語の語彙を持つモデルを選んでください。",
    ),
    "many_tokens": (
        "一文字に多くのトークン",
        "Many tokens for each character",
        "日本語をバイトに分けて読むため、遅くなり、上限に早く届きます。",
    ),
    "no_chat_template": (
        "対話テンプレートがない",
        "No chat template",
        "書式 chat は使えません。plain か alpaca を選んでください。",
    ),
}
"""Rule of the linter → title in both languages, and what it costs and what to do in Japanese; in English the finding's own
sentence says that."""
WORDS |= {f"lint_{rule}": (ja, en) for rule, (ja, en, _) in LINT.items()}

NOTICES_JA = {
    "on_floor_default": "{metric} {value} は、読める答えを一つも出さないときの点 {floor} と区別できません（{protocol} は読めない出力を {default} とみなします）。",
    "on_floor_constant": "{metric} {value} は、いつも同じ答えを出すときの点 {floor} と区別できません。",
    "below_floor": "{metric} {value} は、いつも同じ答えを出すときの点 {floor} を下回っています。",
    "defaults": "{n} 問のうち {k} 問は読めず、{protocol} では {default} とみなされます。そのうち {luck} 問は偶然正解です。",
    "defaults_similarity": "{n} 問のうち {k} 問は読めず、{protocol} では {default} とみなされます。",
    "unfinished_thoughts": "{n} 件の出力のうち {k} 件は思考が終わっておらず、何も読み取りません。思考の上限（--max-thinking-tokens）を増やすか、思考なし（--thinking off）にしてください。",
    "thinking_ignored": "思考ありの設定ですが、プロンプトに思考の切り替えがなく、モデルは思考なしのときと同じように答えました。思考させるには、書式 chat と、テンプレートに思考の切り替えがあるモデルを選んでください。",
    "assumed_thought": '{n} 行のうち {k} 行は {closing} を書いていますが、{mark} はありません。プロンプトが開いた思考とみなし、閉じる印のない {cut} 行は思考の途中として何も読みません。そうでない行には "thought": "" と書いてください。',
    "imported_strange": "{harness} のログの {n} 件のうち {k} 件は、ここのデータのどの問題への答えでもなく、除いています（{first}）。",
    "imported_doubtful": "{harness} のログの {n} 件のうち {k} 件は、データの二つの問題に当てはまり、ログからは区別できないので、除いています（{first}）。",
    "imported_missing": "データの {n} 問のうち {k} 問は、{harness} のログに答えがありません（{first}）。",
    "imported_changed": "{n} 問のうち {k} 問は、{harness} がここのデータと違う文で尋ねています（{first} など）。点はこのデータの問題そのものへの答えの点ではありません。",
    "imported_unchecked": "{n} 問のうち {k} 問は、{harness} のログに文がないので、id だけで対応させました（{first}）。",
    "imported_gold": "{n} 問のうち {k} 問は、{harness} のログの正解がここのデータと違います（{first} など）。ここの点はデータの正解によります。",
    "imported_gold_unknown": "{n} 問のうち {k} 問は、{harness} が正解としたものがログにないか、判別できません（{first}）。",
    "imported_several": "{n} 問のうち {k} 問は、{harness} のログに出力がいくつもあります。それぞれ最初のものを採点します。",
    "imported_trimmed": "{n} 件の出力のうち {k} 件は、{harness} が切り詰め、空白を除き、NFKC で正規化したあとのものです。モデルが書いたままの文はわかりません。",
    "imported_number": "{n} 件の出力のうち {k} 件は、{harness} のログに -2.0（読めなかった印）としかありません。空の出力とみなします。",
    "imported_processed": "{n} 件の出力のうち {k} 件は、{harness} が採点する前にフィルタなどで変えています。ここではモデルが書いたままを採点します。",
    "imported_score": "{harness} が示した {metric} は {printed} です。同じ出力をここのデータで採点すると、{protocol} では {here} です。",
    "thought_closed": "プロンプトは思考を開くか、モデルに任せています。答えの順位は、思考を閉じた同じプロンプトのあとでつけました。",
    "ranked_in_thought": "{k} 問の答えは、以前の版により、プロンプトが開いた思考の中で順位づけされています。この対数尤度はほとんど当てになりません。実行を削除して、作り直してください。",
    "asked_otherwise": "プロンプトは {asked} で答えるよう求めましたが、{protocol} は {read} しか読みません。言い回し {style} なら意味のある点になります。",
    "oracle": "どの答えも、正解のいちばん長いトークン数までしか書けません。正解の一部を教えていることになります（オラクル）。",
    "items_left_out": "{n} 問のうち {k} 問は採点しません。{protocol} は、文字列として最大の正解が 37.5 字を超える問題を除きます。",
    "old_labels": "{protocol} は JGLUE v1.1 のラベルで採点するので、この点もそうしています。{n} 問のうち {k} 問のラベルが v1.3 と異なります。",
    "undefined_as_zero": "{metric} はここでは定義されず、{protocol} では 0 とみなされます。",
    "no_logprobs": "{protocol} は対数尤度で順位をつけますが、この実行にはありません。「両方」で実行してください。",
    "no_text": "{protocol} は生成された文章を読みますが、この実行にはありません。「両方」で実行してください。",
    "not_covered": "{protocol} は {task} を採点しません。",
    "quantized": "このモデルの重みは量子化されています（{quantized}）。点は丸めた重みによるもので、対数尤度は近似です。元の精度のモデルの点ではありません。",
    "approximate": "{precision} で計算したので、対数尤度は近似です。僅差の答えは float32 と入れ替わることがあります。",
    "other_settings": "この実行は {protocol} の設定と異なります（{settings}）。",
    "no_correlation": "{metric} {value} は 0 と区別できません。答えた数が類似度を表しているとは言えません。",
    "left_out": "{n} 問のうち {k} 問は使える対数尤度がなく（欠けているか、NaN・無限大）、この点に入っていません。",
    "assumed_choices": 'acc_norm は {asked} の長さで割っています。ほかの文を順位づけしたなら、予測ファイルの "choices" に書いてください。',
}
"""Notice → Japanese sentence; the English ones are in `notices.py`."""
WORDS |= {f"notice_{kind}": (NOTICES_JA[kind], SENTENCES[kind]) for kind in SENTENCES}

RULES_JA = {
    "exact": "前後の空白を除き、出力がそのまま答え",
    "empty": "何も書かれていない",
    "not_exact": "出力が答えそのものではない",
    "same_answer_twice": "二つのラベルに同じ言葉を求めた",
    "notation": "幅・大文字小文字・文字種・符号・句読点だけが違う",
    "alias": "ラベルの別の言い方だけ",
    "cue": "「答え：」などの合図のあと",
    "leading": "先頭に答えがあり、ほかの文が続く",
    "quoted": "かぎ括弧の中",
    "marked": "\\boxed{} や <answer>、JSON の欄で答えと示された部分",
    "mention": "文が言い切っている唯一の答え",
    "after_thought": "閉じた思考のあと",
    "after_question": "くり返した質問のあと",
    "first_line": "最初の一行だけ",
    "first_sentence": "最初の一文だけ",
    "copula": "文末の「です・だ」を除く",
    "several_labels": "複数のラベルを挙げている",
    "several_numbers": "複数の数を挙げている",
    "no_label": "ラベルがない",
    "no_number": "数がない",
    "no_answer": "思考のあとに何もない",
    "not_asserted": "否定・疑い・問いの中で挙げている",
    "out_of_scale": "数が 0〜5 の外",
    "too_long": "読む範囲に答えがない",
    "unfinished_thought": "思考が終わっていない",
    "contains": "その語を含む",
    "contains_no_negative": "「negative」を含まない",
    "digits_first": "先頭の数字",
    "digits_kept": "0-9 と . だけを残す",
    "clipped": "0〜5 に収める",
    "default": "読めないので、この採点方法の既定値",
    "highest_logprob": "対数尤度が最大の選択肢（文章は見ない）",
    "nfkc": "NFKC のあと",
    "to_blank_line": "最初の空行まで",
    "without_brackets": "両端の「」『』。を除く",
    "without_quotes": "両端の引用符を除く",
    "without_cues": "「応答:」「回答:」「答え:」を除く",
    "without_nul": "末尾の NUL 文字を除く",
    "without_full_stop": "末尾の「。」を除く",
    "without_emoji": "絵文字を除く",
    "neologdn": "neologdn のあと",
    "collapsed": "続く空白を一つにまとめる",
    "lower": "小文字にする",
    "equal": "答えと一致",
    "no_match": "どの答えとも一致しない",
    "as_written": "書かれたまま",
    "trimmed": "前後の空白を除いたもの",
    "number": "Python の float() で読める",
    "not_generated": "文章は生成していない（順位で決まる）",
    "error": "この問題はエラー",
    "overflow": "プロンプトが長すぎた",
    "unscored": "この採点方法が見るものがない",
}
"""Reading rule → Japanese clause; the English ones are in `rules.py`."""

SAID_JA = (
    (r"Preparing (.+)\.", "{} を準備しています。"),
    (r"Loading (.+)\.", "{} を読み込んでいます。"),
    (r"Unloading (.+) to make room\.", "場所を空けるため、{} を下ろしています。"),
    (
        r"Converting (.+) to safetensors\. This happens once and takes about a minute\.",
        "{} を safetensors に変換しています。最初の一度だけで、一分ほどかかります。",
    ),
    (
        r"n is the number of items, from 1 to (\S+), and not (.+)\.",
        "問題数は 1 から {} までの整数です（{} は使えません）。",
    ),
    (
        r"('.*'|\".*\") is no number\. Give one score, such as 0\.3016 or 30\.16%\.",
        "{} は数ではありません。スコアを一つ、0.3016 や 30.16% のように入れてください。",
    ),
    (
        r"The score is longer than any number that is printed\. Give one number, such as 0\.3016\.",
        "スコアが長すぎます。0.3016 のような数を一つ入れてください。",
    ),
    (
        r"('.*'|\".*\") is not a finite number, and so no score\. Give a number, such as 0\.3016\.",
        "{} は有限の数ではないので、スコアになりません。0.3016 のような数を入れてください。",
    ),
    (
        r"('.*'|\".*\") has a comma\. Write decimals with a point, such as 0\.3016\.",
        "{} にコンマがあります。小数は 0.3016 のように点で書いてください。",
    ),
    (
        r"('.*'|\".*\") is outside the range of such a score, (.+)\. Check it, its metric and its scale\.",
        "{} はスコアの範囲（{}）の外です。値、指標、表記を確かめてください。",
    ),
    (
        r"('.*'|\".*\") has a percent sign and is said to be a fraction\. Leave one of them out\.",
        "{} には % がついていますが、割合と指定されています。どちらかをやめてください。",
    ),
    (
        r"(.+) has two scores for (.+)\. Leave one of them out\.",
        "{} には {} のスコアが二つあります。一つにしてください。",
    ),
    (
        r"('.*'|\".*\") is no number of items\. Give a whole number of 1 or more, such as jnli:acc:100\.",
        "{} は問題数ではありません。1 以上の整数を jnli:acc:100 のように書いてください。",
    ),
    (
        r"JSON has to be a list of objects, one for each model, or an object of objects by model\.",
        "JSON は、モデルごとのオブジェクトの配列か、モデル名からオブジェクトへの対応にしてください。",
    ),
    (
        r"The table has (\S+) rows; at most (\S+) are compared\. Give a part of it\.",
        "表が {} 行あります。比べられるのは {} 行までなので、一部だけにしてください。",
    ),
    (
        r"The table begins as JSON and is not valid JSON\. Correct it, or give CSV\.",
        "JSON として始まっていますが、正しい JSON ではありません。直すか、CSV にしてください。",
    ),
    (
        r"The table has more than (\S+) (?:characters|bytes): no leaderboard does\. Give its scores alone\.",
        "表が大きすぎます（上限 {}）。スコアの部分だけにしてください。",
    ),
    (
        r"The table (?:is empty|has no rows)\. It takes a head, such as model,JNLI, and a row for each model\.",
        "表に行がありません。一行目に model,JNLI のような見出し、次の行からモデルを一行ずつ書いてください。",
    ),
    (r"The table has more than (\S+) rows\. Give a part of it\.", "表が {} 行を超えています。一部だけにしてください。"),
    (
        r"A column stands twice in the head of the table\. Name each column once\.",
        "見出しに同じ列が二つあります。列の名前は一度ずつにしてください。",
    ),
    (
        r"Row (\S+) of the table has more cells than the head has names\. Correct it\.",
        "表の {} 行目の欄が、見出しより多くあります。直してください。",
    ),
    (
        r"The table is not valid CSV \((.+)\)\. Correct it, and give it again\.",
        "正しい CSV ではありません（{}）。直して、もう一度入れてください。",
    ),
    (
        r"The table has more than (\S+) columns\. Give the model and the scores alone\.",
        "列が {} を超えています。モデルとスコアの列だけにしてください。",
    ),
    (
        r"None of the columns is a score that is known here: (.+)\. Name them after the subsets .+",
        "スコアと分かる列がありません（{}）。列の名前をサブセット（JNLI、JSQuAD EM など）にしてください。",
    ),
    (
        r"The table is neither in UTF-8 nor in Shift_JIS\. Save it as CSV in UTF-8 and try again\.",
        "表が UTF-8 でも Shift_JIS でもありません。UTF-8 の CSV として保存し直してください。",
    ),
    (
        r"A public server takes no files\. Paste the table instead\.",
        "公開サーバーはファイルを受け取りません。表を貼り付けてください。",
    ),
    (
        r"The table has too many rows and columns to compare each with each\. Give a part of it\.",
        "行と列が多すぎて、総当たりで比べられません。一部だけにしてください。",
    ),
    (r"These are the metrics of (.+)\.", "{} の指標です。"),
    (r"The run has no (.+): choose one of (.+)\.", "この実行に {} はありません。{} から選んでください。"),
    (
        r"(.+) does not score (.+)\. Choose another subset or protocol\.",
        "{} は {} を採点しません。ほかのサブセットか採点方法を選んでください。",
    ),
    (
        r"(.+) ranks the answers of (.+) by log-likelihood, and the run has none: run with --method both\.",
        "{} は {} の答えを対数尤度で順位づけしますが、この実行にはありません。「両方」で実行してください。",
    ),
    (
        r"(.+) reads the text of (.+), and the run has none: run with --method both\.",
        "{} は {} の文章を読みますが、この実行にはありません。「両方」で実行してください。",
    ),
    (r"(.+) works in up to ([\d.]+) GiB beside its weights\.", "{} は、重みのほかに {} GiB まで使います。"),
    (
        r"Fetching (.+) \(([\d.]+) GB\) from the Hugging Face Hub, unless it is cached\.",
        "{}（{} GB）を Hugging Face Hub から取得しています（取得済みなら、それを使います）。",
    ),
    (r"Downloading (.+) \(([\d.]+) GB\)\.", "{}（{} GB）をダウンロードしています。"),
    (
        r"The two models do not fit in memory together: they run one after the other\.",
        "二つのモデルは一緒にはメモリに入らないので、順番に動かします。",
    ),
    (r"Unloading (.+): its files have changed\.", "{} のファイルが変わったため、下ろしています。"),
    (
        r"The files of (.+) have changed since run (\S+) of the same settings \((.+)\): .+",
        "{} のファイルが、同じ設定の実行 {} のときから変わっています（{}）。別の実行として扱い、前の実行は残します。",
    ),
    (
        r"(\S+) is at another commit than in run (\S+) of the same settings \((\S+) then, (\S+) now\): .+",
        "{} のコミットが、同じ設定の実行 {} のときと違います（{} → {}）。別の実行として扱い、前の実行は残します。",
    ),
    (
        r"Run (\S+) of the same settings does not say with which files of (.+) it was made: .+",
        "同じ設定の実行 {} には、{} のどのファイルで作ったかの記録がありません。"
        "別の実行として扱い、前の実行は残します。",
    ),
    (
        r"This run was begun with (.+) and goes on with (.+): some answers may differ .+ delete run (\S+) first\.",
        "この実行は {} で始まり、{} で続きます。一つの版だけの答えとは一部異なることがあります。"
        "一つの版にそろえるには、先に実行 {} を削除してください。",
    ),
    (
        r"The files of (.+) have changed since the run was planned\. .+",
        "実行を始めたあとで {} のファイルが変わりました。もう一度始めてください（別の実行になります）。",
    ),
    (
        r"(.+) is being written\. Wait until that is done, and start again\.",
        "{} は書き込みの途中です。終わるのを待って、もう一度始めてください。",
    ),
    (
        r"Thinking was asked for, and nothing in the prompt turns it on: .+",
        "思考ありの設定ですが、このプロンプトには思考の切り替えがありません。モデルは思考なしのときと同じように答えます。思考させるには、書式 chat と、テンプレートに思考の切り替えがあるモデルを選んでください。",
    ),
    (
        r"--max-thinking-tokens has no effect here: answers are only ranked, and no text is written\.",
        "思考の上限は、ここでは効きません。答えの順位をつけるだけで、文章を書かせないためです。",
    ),
    (
        r"--max-thinking-tokens has no effect here: nothing in the prompt opens a thought\. .+",
        "思考の上限は、ここでは効きません。プロンプトが思考を開かないためです。モデルが自分から思考を書いた場合だけ、その思考を制限します。",
    ),
    (
        r"--repetition-penalty has no effect here: answers are only ranked, and no text is written\.",
        "繰り返しペナルティは、ここでは効きません。答えの順位をつけるだけで、文章を書かせないためです。",
    ),
    (
        r"--repetition-penalty has no effect here: a table of answers gives them as they stand in it\.",
        "繰り返しペナルティは、ここでは効きません。答えの表は、書いてある答えをそのまま返すためです。",
    ),
    (
        r"The prompt opens a thought \((\S+|.+:)\) although thinking is off: what follows it is the answer\.",
        "思考なしの設定ですが、プロンプトが思考（{}）を開きます。そのあとを答えとして読みます。",
    ),
    (
        r"A thought has no tokens of its own: .+",
        "思考のトークンは答えの上限から使われます。「思考の上限（トークン）」を指定してください。",
    ),
    (
        r"The thought is closed before answers are ranked: .+",
        "順位づけの前に思考を閉じます。閉じた文章は、それぞれの記録にあります。",
    ),
    (
        r"No train file is at hand for (.+): the examples are our own sample items\.",
        "{} の train ファイルが手元にないので、例題には独自の見本を使います。",
    ),
    (
        r"(\S+) is not on this machine and (\S+) cannot be reached \((.+)\)\. .+",
        "{} はこの計算機になく、{} にも接続できません（{}）。接続を確かめるか、付属のモデル gemma-3-270m を使ってください。",
    ),
    (
        r"This model's tokenizer has no chat template\. .+",
        "このモデルには対話テンプレートがありません。plain や alpaca など、ほかの書式を選んでください。",
    ),
    (
        r"The table of answers '(.+)' cannot be read \((.+)\)\. .+",
        "答えの表 {} を読めません（{}）。JSON Lines ファイルの場所を指定してください。",
    ),
    (r"There is no run '(.+)' here\. .+", "実行 {} はここにありません。一覧から選ぶか、もう一度実行してください。"),
    (
        r"Choose at least two formats, or two wording styles: a sweep compares them\.",
        "書式を二つ以上（または言い回しを二つ以上）選んでください。",
    ),
    (r"The run (\S+) is here already\. .+", "実行 {} はもうここにあります。先に削除するか、いまある方を見てください。"),
    (
        r"(.+) is not a readable \.zip file \(.+\)\. .+",
        "{} は読める .zip ファイルではありません。もう一度書き出してください。",
    ),
    (r"(\S+): the field (\S+) is empty\. .+", "{}：欄 {} が空です。文を入力するか、問題を選んでください。"),
    (
        r"(\S+): (\S+) has ([\d,]+) characters\. At most ([\d,]+) .+",
        "{}：{} が {} 文字あります。ここで読めるのは {} 文字までです。",
    ),
    (
        r"The W&B key is empty\. .+",
        "W&B の API キーが空です。自分のキーを貼り付けてください（この送信だけに使い、どこにも残しません）。",
    ),
    (
        r"There is no key for (\S+)\. .+",
        "{} のキーがサーバーにありません。自分のキーを貼り付けるか、WANDB_API_KEY を設定してください。何も送っていません。",
    ),
    (
        r"This is no W&B key: they have (\d+) or more .+ this one has (\d+) characters\. .+",
        "W&B のキーではないようです（キーは {} 文字以上、入力は {} 文字）。もう一度コピーしてください。何も送っていません。",
    ),
    (
        r"W&B does not accept this key\. .+",
        "W&B がこのキーを受け付けません。もう一度コピーしてください。",
    ),
    (
        r"W&B knows no (\S+)\. .+",
        "W&B に {} がありません。エンティティとプロジェクトの名前を確かめてください（チームは先に作っておく必要があります）。",
    ),
    (
        r"This key may not write to (\S+)\. .+",
        "このキーでは {} に書き込めません。エンティティとプロジェクトを確かめるか、持ち主に頼んでください。",
    ),
    (
        r"W&B takes no project named '(.*)': .+",
        "W&B のプロジェクト名に {} は使えません。空白と / \\ # ? % : のない 1〜128 文字にしてください。",
    ),
    (
        r"(\S+) could not be reached \((.+)\)\. The run here is untouched: .+",
        "{} に接続できません（{}）。ここの実行はそのままです。つながったら、もう一度送ってください。",
    ),
    (
        r"With this server's key runs go to .+",
        "サーバーのキーで送れるのは、運営者が決めたプロジェクトだけです。プロジェクトとエンティティを空にするか、自分のキーを貼り付けてください。",
    ),
    (
        r"This run has ([\d,]+) of its ([\d,]+) items: .+",
        "この実行は {} 問（全 {} 問中）までです。そのまま送り、「unfinished」と印を付けました。",
    ),
    (
        r"W&B did not answer properly: (.+) The run here is untouched: .+",
        "W&B から正しい応答がありません（{}）。ここの実行はそのままです。もう一度送ると、足りない分が同じ実行に届きます。",
    ),
    (
        r"W&B has not answered for (\d+) s\. .+",
        "W&B から {} 秒間応答がありません。ここの実行はそのままです。もう一度送ると、足りない分が同じ実行に届きます。",
    ),
    (
        r"Sending takes a while: W&B may take (\d+) s more .+",
        "送信に時間がかかっています。W&B が保存し終えるのを、あと {} 秒まで待ちます。",
    ),
    (
        r"Other pushes have kept this server busy too long\. .+",
        "ほかの送信が続いていて、順番が来ませんでした。何も送っていません。しばらくしてから、もう一度送ってください。",
    ),
    (
        r"W&B does not confirm that all of (\S+) has arrived\. .+",
        "{} が全部届いたことを W&B で確かめられません。ここの実行はそのままです。もう一度送ると、足りない分が同じ実行に届きます。",
    ),
    (
        r"The process that talks to W&B ended without a word \((.+?)\)\. .+",
        "W&B と通信するプロセスが、何も言わずに終わりました（{}）。ここの実行はそのままです。もう一度送ってください。",
    ),
    (
        r"The push was stopped\. .+",
        "送信が長くかかりすぎたので止めました。届いた分は残ります。もう一度送ると、同じ実行が最後まで届きます。",
    ),
    (r"(\S+) is being pushed to (\S+) already\. .+", "{} は {} へ送っている途中です。終わるまで待ってください。"),
    (
        r"The run (\S+) has no answer yet\. .+",
        "実行 {} には、まだ答えがありません。先に、同じ設定で最後まで動かしてください。",
    ),
    (
        r"The protocol (\S+) finds nothing to score in this run: .+ such as (\S+), or .+",
        "採点方法 {} で採点できるものが、この実行にありません。{} など、ほかの採点方法で送ってください。",
    ),
    (
        r"There is no room to prepare what is sent to W&B\. .+",
        "送るものを用意する場所がありません。空きを作るか、TMPDIR を大きなディスクにしてください。ここの実行はそのままです。",
    ),
    (
        r"To push (\S+) about ([\d,]+) MiB are needed in (\S+), which has ([\d,]+) MiB\. .+",
        "{} を送るには {} MiB ほど要りますが、{} の空きは {} MiB です。空きを作ってください。ここの実行はそのままです。",
    ),
    (
        r"W&B has ([\d,]+) items of this run already, and here it has ([\d,]+)\. .+",
        "W&B にはこの実行の {} 問がすでにあり、ここにあるのは {} 問です。少ない方では置きかえません。何も送っていません。",
    ),
    (
        r"Somebody has deleted this run at (\S+), .+",
        "この実行は {} で削除されています。W&B は削除された ID を二度と受け付けません。W&B で元に戻すか、別のプロジェクトへ送ってください。",
    ),
    (
        r"W&B has no entity named '(.*)'\. .+",
        "W&B のエンティティ名に {} は使えません。ユーザーかチームの名前を、ページのアドレスにあるとおりに書いてください。",
    ),
    (
        r"'(.*)' names no entity before the '/'\. .+",
        "{} には「/」の前のエンティティがありません。ENTITY/PROJECT か PROJECT の形で書いてください。",
    ),
    (r"A and B are the same run\. .+", "A と B が同じ実行です。二つ選んでください。"),
    (r"Choose two runs to compare first: .+", "先に、上の A と B で比べる実行を二つ選んでください。"),
    (
        r"The two runs have answered no item in common\. .+",
        "二つの実行に、共通の問題がありません。同じサブセットとデータの実行を選んでください。",
    ),
    (
        r"Sending ([\d,]+) rows and a run folder of ([\d.,]+) MiB\.",
        "表 {} 行と、実行フォルダ（{} MiB）を送っています。",
    ),
    (r"Choose a run to send first\.", "送る実行を選んでください。"),
    (
        r"The gold answer of (\S+) is one of (.+); not (.+)\.",
        "{} の正解は {} のどれかです（{} は使えません）。",
    ),
    # --- jobs, runs and their files ---
    (
        r"A run of yours is already going on, perhaps in another tab\. .+",
        "自分の実行がまだ続いています（別のタブかもしれません）。止めるか、終わるのを待ってください。",
    ),
    (
        r"Too many people are waiting for this server\. .+",
        "順番を待っている人が多すぎます。数分たってから、もう一度お試しください。",
    ),
    (
        r"Unloading all other models to make room for (.+)\.",
        "{} の場所を空けるため、ほかのモデルをすべて下ろしています。",
    ),
    (
        r"Train items with the text of an evaluated item are never shown as examples: (.+)\.",
        "評価する問題と同じ文の train の問題は、例題に使いません（{}）。",
    ),
    (r"([\d,]+) in (\w[\w-]*)", "{1} {0} 問"),
    (r"([\d,]+) in (\w[\w-]*), (.+)", "{1} {0} 問、{2}"),
    (
        r"The weights of (.+) have changed since this run was started \((.+) is now (.+)\)\. .+",
        "{} の重みが、この実行を始めたときから変わりました（{} → {}）。この実行を「結果」で削除して、新しく始めてください。",
    ),
    (
        r"This run was started in (\w+), and here the model is loaded in (\w+)\. .+",
        "この実行は {0} で始めましたが、いまのモデルは {1} です。続けるには「数値の精度」を {0} に、別の実行にするには {1} にしてください。",
    ),
    (
        r"(.+) is not a run: it has no manifest\.json\.",
        "{} は実行のフォルダではありません（manifest.json がありません）。ほかの実行を選んでください。",
    ),
    (r"(.+) cannot be read \((.+)\)\. Restore it from a copy\.", "{} を読めません（{}）。控えから戻してください。"),
    (r"(.+) cannot be read \((.+)\)\. Check its permissions\.", "{} を読めません（{}）。権限を確かめてください。"),
    (
        r"(.+) was written by another version of this application\. .+",
        "{} は、このアプリの別の版が書いたものです。その版で開いてください。",
    ),
    (r"(.+) holds no usable spec \((.+)\)\.", "{} に、使える設定がありません（{}）。もう一度実行してください。"),
    (
        r"(.+) does not say where its data is from \((.+)\)\.",
        "{} に、データの出どころが書かれていません（{}）。もう一度実行してください。",
    ),
    (r"(.+), (.+?): damaged \((.+)\)\. (.+)", "{} の {}が壊れています（{}）。{}"),
    (r"(\d+) lines after byte ([\d,]+)", "{1} バイト目から {0} 行目"),
    (r"Delete the line; its item is then done again\.", "その行を削除すると、その問題はやり直せます。"),
    (
        r"Restore it from a copy, or start the same run again, which writes it anew\.",
        "控えから戻すか、同じ実行をもう一度始めてください（書き直されます）。",
    ),
    (r"The file (.+) is gone\. (.+)", "ファイル {} がありません。{}"),
    (r"(.+) is not as it was written\. (.+)", "{} が書かれたときと違っています。{}"),
    (r"(.+) holds ([\d,]+) items of at least ([\d,]+)\. (.+)", "{} の問題が足りません（{} / {}）。{}"),
    (
        r"(.+) answers (\w+) (.+), which is not among the items of the run\. (.+)",
        "{} に、この実行の問題ではない {} {} の出力があります。{}",
    ),
    (
        r"(.+) has lost ([\d,]+) of its answers\. .+",
        "{} から {} 問分の出力が失われています。同じ実行をもう一度始めるとやり直せます。控えから戻すこともできます。",
    ),
    (
        r"(.+) holds answers and no manifest\.json, .+",
        "{} に出力はありますが、どの重みのものかを記す manifest.json がありません。控えから戻すか、フォルダを削除して新しく始めてください。",
    ),
    (
        r"(.+) describes another run\. .+",
        "{} は別の実行のものです。控えから戻すか、フォルダを削除して新しく始めてください。",
    ),
    (
        r"The items of this run were missing or damaged: .+",
        "この実行の問題のファイルがないか壊れていたため、データのファイルから書き直しました。",
    ),
    (
        r"([\d,]+) stored answers of this run are lost: .+",
        "この実行の出力が {} 問分失われています。その問題をやり直します。",
    ),
    (
        r"The run folder (.+) cannot be made \((.+)\)\. .+",
        "実行のフォルダ {} を作れません（{}）。権限と空きを確かめるか、JGLUE_RUNS_DIR を別のフォルダにしてください。",
    ),
    (
        r"The folder for runs (.+) cannot be read \((.+)\)\. .+",
        "実行の置き場 {} を読めません（{}）。権限を確かめるか、JGLUE_RUNS_DIR を別のフォルダにしてください。",
    ),
    (
        r"Another process is writing to (.+)\. Wait for it, .+",
        "{} には、ほかのプロセスが書き込んでいます。終わるのを待つか、止めてから、もう一度始めてください。",
    ),
    (
        r"(.+) could not be written to (.+) \((.+)\)\. Everything before is kept: .+",
        "{}を {} に書き込めません（{}）。それまでの分は残っています。空きを作って、同じ実行をもう一度始めてください。",
    ),
    (r"A record of ([\d,]+) bytes", "記録（{} バイト）"),
    (r"The last records", "最後の記録"),
    (r"(\S+) of ([\d,]+) bytes", "{}（{} バイト）"),
    (
        r"(.+) cannot be written to \((.+)\)\. .+",
        "{} に書き込めません（{}）。権限を確かめるか、実行を置くフォルダを変えてください。",
    ),
    (r"(.+) is not a run's manifest \((.+)\)\.", "{} は実行の記述ではありません（{}）。ほかの実行を選んでください。"),
    (
        r"(.+) holds no run \((.+)\)\. It may have been deleted: .+",
        "{} に実行がありません（{}）。削除されたのかもしれません。もう一度実行してください。",
    ),
    (r"(.+) cannot be deleted \((.+)\)\. .+", "{} を削除できません（{}）。権限を確かめてください。"),
    (
        r"(.+) cannot be written \((.+)\)\. Choose another place.*",
        "{} に書き込めません（{}）。空きを作って、もう一度書き出してください。",
    ),
    (
        r"(.+) is there already\. Name a place where nothing is, .+",
        "{} はもうあります。何もない場所を指定するか、先に消してください。",
    ),
    (
        r"There is no folder (.+) to write into\. .+",
        "書き出し先のフォルダ {} がありません。先に作るか、ほかの場所を選んでください。",
    ),
    (
        r"(\S+) cannot be a (\S+) file\. Name a new folder .+",
        "{} は {} のファイルにはできません。新しいフォルダか .zip を指定してください。",
    ),
    (
        r"The run (\S+) is not complete: ([\d,]+) of ([\d,]+) items are answered\. .+",
        "実行 {} は終わっていません（答えたのは {}／{} 問）。同じ実行をもう一度始めると続きから進みます。終わってから書き出してください。",
    ),
    (
        r"The protocol (\S+) gives this run no score \((.+)\)\. .+",
        "採点方法 {} では、この実行に点がつきません（{}）。ほかの採点方法を選んでください。",
    ),
    (
        r"These answers were read from a table, and a model card .+",
        "これは表から読んだ答えなので、モデルカードの成績にはできません。モデルが答えた実行を書き出してください。",
    ),
    (
        r"Nothing of this run may stand on a model card \((.+)\)\. .+",
        "この実行には、モデルカードの成績にできるものがありません（{}）。lm-eval の形式なら書き出せます。",
    ),
    (
        r"The Hub shows these values once (\S+) is registered there as a Benchmark .+",
        "これらの値が Hub に表示されるのは、{} がこのタスク名でベンチマークとして登録されてからです。"
        "登録された JGLUE は、いまのところ知られていません。",
    ),
    (r"(\S+) is left out: (.+)\.", "{} は除いてあります（{}）。"),
    (
        r"it is the (\S+) split, and (\S+) has no results of any but valid",
        "{} の分割の結果で、{} の結果は valid だけです",
    ),
    (r"([\d,]+) of ([\d,]+) items were asked", "答えさせたのは {}／{} 問です"),
    (r"([\d,]+) items failed", "{} 問が失敗しています"),
    (r"its score rests on ([\d,]+) of ([\d,]+) items", "点数のもとになったのは {}／{} 問だけです"),
    (
        r"(\S+) has the labels of (\S+), and these scores rest on those of (\S+)",
        "{} の正解ラベルは {} のもので、この点数の正解ラベルは {} のものです",
    ),
    (
        r"(.+) cannot be imported \((.+)\)\. .+",
        "{} を読み込めません（{}）。実行を置くフォルダの権限と空きを確かめてください。",
    ),
    (
        r"(.+): has no header\.json: it is no \.eval log.+",
        "{} に header.json がありません。.eval のログではないか、終わっていない評価のものです。`inspect eval-retry` で終わらせるか、ほかのログを選んでください。",
    ),
    (
        r"(.+): is not a readable \.eval archive \((.+)\)\. .+",
        "{} は読める .eval ではありません（{}）。途中で切れているか壊れています。もう一度コピーするか、`inspect log convert --to json` で変換してください。",
    ),
    (
        r"(.+): unpacks to more than (\d+) MiB\. .+",
        "{} を展開すると {} MiB を超えます。もっと小さいログを選んでください。",
    ),
    (
        r"(.+): is no log that is known here\. Known are (.+)\.",
        "{} は、ここで読めるログではありません。読めるのは {} です。",
    ),
    (r"(.+): is empty\. Give a harness's log\.", "{} は空です。評価ツールのログを選んでください。"),
    (
        r"(.+): is no JSON in UTF-8, which logs are written in\. .+",
        "{} は UTF-8 の JSON ではありません。評価ツールが書いたままのログを選ぶか、UTF-8 で保存し直してください。",
    ),
    (
        r"(.+): not valid JSON \((.+)\)\. The log is truncated or damaged.+",
        "{} JSON として読めません（{}）。ログが途中で切れているか壊れています。もう一度コピーしてください。",
    ),
    (
        r"(.+): JSON beyond what can be read \((.+)\)\. Copy the log again\.",
        "{} 読める範囲を超えた JSON です（{}）。ログをもう一度コピーしてください。",
    ),
    (
        r"(.+): a JSON document of more than (\d+) MiB\. .+",
        "{} は {} MiB を超える一つの JSON です。一行一件のログか、サブセットごとのログを選んでください。",
    ),
    (
        r"(.+): ([\d,]+) of (?:the first )?([\d,]+) answers are to no item of (.+) \((.+)\)\. It is a log of another "
        r"benchmark.+",
        "{} の答えのうち {} 件（{} 件中）は、{} のどの問題への答えでもありません（{}）。別のベンチマーク、分割、データのログです。",
    ),
    (
        r"(.+): ([\d,]+) of ([\d,]+) answers cannot be told to be to one item of (.+) \((.+)\)\. .+",
        "{} の答えのうち {} 件（{} 件中）は、{} のどの問題への答えか一つに決まりません（{}）。"
        "「一部の問題だけでもよい」（--partial）を選ぶと、ほかの答えだけを読み込みます。",
    ),
    (
        r"(.+): ([\d,]+) of ([\d,]+) items of (.+) have no answer in the log \(the first is (.+)\)\. .+",
        "{} には、{} 問（{} 問中、{}）の答えがありません（最初は {}）。"
        "「一部の問題だけでもよい」（--partial）を選ぶと、ある答えだけを読み込みます。",
    ),
    (
        r"(.+): holds (\S+) in two versions, (.+) and (.+)\. .+",
        "{} には {} が二つの版（{} と {}）であります。どちらか一つのログを選んでください。",
    ),
    (
        r"(.+): item (.+) of (\S+) was answered before, at (.+)\. Two logs .+",
        "{} {}（{}）は {} でもう答えられています。二つのログがつながっているか、データが変わっています。評価ツールが書いたままのログを選んでください。",
    ),
    (
        r"(.+): the log-likelihoods of item (.+) are all 0, .+",
        "{} 問題 {} の対数尤度がすべて 0 です。対数尤度を出すモデルで、ログを作り直してください。",
    ),
    (
        r"(.+): no subset of JGLUE is known by the name (.+)\. If .+",
        "{} {} という名前からは JGLUE のどのサブセットかわかりません。サブセットのログなら、コマンドラインの --task で指定してください。",
    ),
    (
        r"(.+): it cannot be told which of the answers (.+) of item (.+) stands for which of (.+)\. Log the .+",
        "{} 答え {}（問題 {}）のどれが {} のどれにあたるか判別できません。ラベルの文そのものを記録するか、`score --predictions` を使ってください。",
    ),
    (
        r"(.+): holds scores, and not the outputs of every item\. .+",
        "{} には点だけがあり、すべての問題の出力がありません。lm-eval なら --log_samples が書く samples_….jsonl を選んでください。",
    ),
    (
        r"(.+): holds no answer of (.+?)\..* Give a log that has some\.",
        "{} に {} の答えがありません。答えのあるログを選んでください。",
    ),
    (
        r"(.+) is of (.+) and (.+) of (.+)\. Import them one by one\.",
        "{} は {}、{} は {} のものです。一つずつ読み込んでください。",
    ),
    (
        r"Two of the files are called (.+)\. Import them one by one, each with what lay beside it\.",
        "{} という名前のファイルが二つあります。一緒にあったファイルとともに、一つずつ読み込んでください。",
    ),
    (
        r"The run (\S+) is here already: this log was imported before\. .+",
        "実行 {} はもうここにあります（同じログを前に読み込んでいます）。先に削除するか、今あるものを見てください。",
    ),
    (
        r"The run cannot be stored in (.+) \((.+)\)\. .+",
        "実行を {} に置けません（{}）。権限と空きを確かめてください。",
    ),
    (
        r"(.+): log-likelihoods of (.+), whose answers are open\. Give a log of generated answers\.",
        "{} 自由に答える {} の対数尤度です。生成した答えのログを選んでください。",
    ),
    (
        r"(.+): (\S+) was in (.+) already\. Import one log of each subset at a time\.",
        "{} {} は {} にもうあります。サブセットごとに一つのログを選んでください。",
    ),
    (
        r"--data must be official, sample or a file, and (.+) is none of these\.",
        "--data には official、sample、ファイルのどれかを指定してください。{} はどれでもありません。",
    ),
    (r"There is no log\. Give the path of one\.", "ログがありません。ログを選んでください。"),
    (
        r"(.+) holds no log \((.+)\)\. Give the log's own path\.",
        "{} にログ（{}）がありません。ログそのものを選んでください。",
    ),
    (
        r"A file of items is of one subset\. Name it: --task\.",
        "問題のファイルは一つのサブセットのものです。--task で指定してください。",
    ),
    (
        r"(.+): is no log of Inspect: it has no 'eval'\. .+",
        "{} は Inspect のログではありません（'eval' がありません）。.eval か .json のログを選んでください。",
    ),
    (
        r"(.+): is no result of llm-jp-eval(?:: it has no 'outputs')?\. Give its result JSON.+",
        "{} は llm-jp-eval の結果ではありません。結果の JSON を選んでください。",
    ),
    (
        r"(.+): is no results file of lm-eval\. .+",
        "{} は lm-eval の結果ファイルではありません。results_….json を選んでください。",
    ),
    (
        r"(.+): has no task (.+)\. Give the results file of the same run with --results\.",
        "{} にタスク {} がありません。同じ実行の結果ファイルを選んでください。",
    ),
    (
        r"(.+): more than (\d+) GiB\. Give one subset at a time\.",
        "{} は {} GiB を超えています。サブセットごとに選んでください。",
    ),
    (
        r"(.+): expected a JSON object, found (\S+)\. Give a harness's log\.",
        "{} JSON のオブジェクトではなく {} です。評価ツールのログを選んでください。",
    ),
    (
        r"(.+): not UTF-8\. Save the file as UTF-8 and try again\.",
        "{} は UTF-8 ではありません。UTF-8 で保存し直してください。",
    ),
    (
        r"(.+): longer than (\d+) MiB\. Give a log in lines\.",
        "{} が {} MiB を超えています。一行一件のログを選んでください。",
    ),
    (
        r"(.+): is no result of that harness\. .+",
        "{} は lm-evaluation-harness-jp の結果ではありません。--output_path で書かれた JSON を選んでください。",
    ),
    (
        r"(.+): holds more than ([\d,]+) files\. Give a smaller log\.",
        "{} のファイルが {} 個を超えています。もっと小さいログを選んでください。",
    ),
    (
        r"(.+) The log is of another version, or was changed: .+",
        "{} ログの版が違うか、変えられています。評価ツールが書いたままのログを選んでください。",
    ),
    (
        r"(.+) holds more than (\d+) GiB\. .+",
        "{} の中身は {} GiB を超えています。展開して、フォルダのまま `python -m jglue_app import` で読み込んでください。",
    ),
    (
        r"(.+) has a manifest whose model or machine is no table\. .+",
        "{} の manifest.json の形が違います。このアプリで書き出した .zip を選んでください。",
    ),
    (
        r"(.+) has no items of a subset that is known here\. .+",
        "{} に、ここで扱うサブセットの問題がありません。このアプリで書き出した .zip を選んでください。",
    ),
    (
        r"(.+) holds no run: (.+) Choose a \.zip file .+",
        "{} に実行が入っていません。このアプリで書き出した .zip を選んでください。{}",
    ),
    (
        r"(.+) holds a run that cannot be scored \((.+)\)\. .+",
        "{} の実行は採点できません（{}）。このアプリで書き出した .zip を選んでください。",
    ),
    (
        r"On a public server runs are not deleted by hand\. .+",
        "公開サーバーでは実行を削除できません。何も削除していません。",
    ),
    (
        r"This run came with the application and stays\. .+",
        "この実行はアプリに付属のもので、削除できません。自分で作った実行を選んでください。",
    ),
    (
        r"A public server takes no files\. .+",
        "公開サーバーではファイルを読み込めません。手元の計算機で動かしてください。",
    ),
    # --- what is asked for ---
    (
        r"At most ([\d,]+) items of a subset can be asked for here\. .+",
        "問題数は、サブセットごとに {} 問までです。減らしてください。",
    ),
    (r"A and B are the same\. .+", "A と B が同じ設定です。例題の数など、どちらかを変えてください。"),
    (r"There is no model\. .+", "モデルがありません。一覧から選ぶか、名前を入力してください。"),
    (
        r"A model's name has at most ([\d,]+) characters\b.*",
        "モデルの名前は {} 文字までで、改行は使えません。ID かファイルの場所を入力してください。",
    ),
    (r"The number of examples is from 0 to (\d+)\.", "例題の数は 0 から {} までです。"),
    (
        r"(\S+) in this link must be a whole number (.+), not (.+)\. .+",
        "このリンクの {} は、{}の整数にしてください（{} は使えません）。",
    ),
    (
        r"(\S+) in this link must be a number above 0, such as 1\.2, not (.+)\. .+",
        "このリンクの {} は、0 より大きい数にしてください（例：1.2。{} は使えません）。",
    ),
    (r"from (\d+) to ([\d,]+)", "{} から {} まで"),
    (r"of at least (\d+)", "{} 以上"),
    (r"Choose at least one subset: (.+)\.", "サブセットを一つ以上選んでください（{}）。"),
    (r"The number of items must be at least 1\.", "問題数は 1 以上にしてください。"),
    (r"The number of few-shot examples must be 0 or more\.", "例題の数は 0 以上にしてください。"),
    (
        r"The example (.+) has the text of the evaluated item (.+)\. Take it .+",
        "例題 {} は、評価する問題 {} と同じ文です。train ファイルから除くか、例題なしにしてください。",
    ),
    (
        r"There are no fixed answers to rank in (.+)\. .+",
        "{} には、順位づけする決まった答えがありません。「答えさせ方」を「自由生成」か「両方」にするか、そのサブセットを外してください。",
    ),
    (r"(\w+) and (\w+)", "{} と {}"),
    (
        r"(\S+): (\d+) examples were asked for and (\d+) are at hand\. .+",
        "{}：例題が {} 個必要ですが、手元には {} 個しかありません。「例題の数」を減らすか、`python -m jglue_app data fetch --split train` で公式の train ファイルを取得してください。",
    ),
    (
        r"The gold answer has ([\d,]+) characters\. At most ([\d,]+) .+",
        "正解が {} 文字あります。ここで読めるのは {} 文字までです。",
    ),
    (r"(\S+): the gold answer is empty\. .+", "{}：正解が空です。許される答えを 1 行に 1 つ入力してください。"),
    (
        r"The gold answer of (\S+) is a number from 0 to 5, not (.+)\.",
        "{} の正解は 0 から 5 までの数です（{} は使えません）。",
    ),
    (
        r"A sweep takes at most (\d+) formats times styles, not ([\d,]+)\. .+",
        "書式と言い回しの組み合わせは {} 通りまでです（いまは {} 通り）。減らしてください。",
    ),
    (r"A style's name has at most ([\d,]+) characters\.", "言い回しの名前は {} 文字までです。"),
    (r"Formats and styles of a sweep are lists of names\.", "書式と言い回しは、名前の一覧で指定してください。"),
    (
        r"(.+): ([\d,]+) accepted answers\. At most ([\d,]+) are read here\.",
        "{}：正解が {} 個あります。ここで読むのは {} 個までです。",
    ),
    (
        r"It was stopped before there was an answer\. Try it again\.",
        "結果が出る前に止められました。もう一度試してください。",
    ),
    (r"There is no format (.+)\. Known: (.+)\.", "書式 {} はありません。使えるのは {} です。"),
    (r"This server runs the listed models only\.", "このサーバーでは一覧のモデルだけを使えます。"),
    (r"Or give the path of your own \.toml file\.", "自分の .toml ファイルの場所も入力できます。"),
    # --- models ---
    (
        r"(.+) has no tokenizer to look at\. .+",
        "{} にはトークナイザがありません。Hub の ID・フォルダ・.gguf ファイルでモデルを指定してください。",
    ),
    (
        r"The model failed on a batch \((.+)\)\. .+",
        "モデルの計算に失敗しました（{}）。「数値の精度」を変えてみてください。",
    ),
    (
        r"The model produced NaN or infinite scores\. .+",
        "モデルの計算結果が NaN か無限大になりました。「数値の精度」を float32 や bfloat16 に変えてください。",
    ),
    (
        r"This prompt has ([\d,]+) tokens; at most ([\d,]+) are read here\. .+",
        "プロンプトが {} トークンあります。ここで読めるのは {} トークンまでです。文を短くするか、例題を減らしてください。",
    ),
    (
        r"(.+) fails on a first short text \((.+)\)\. Leave the quantization out, .+",
        "{} は最初の短い文で失敗しました（{}）。「量子化」を「なし」にするか、transformers の別の版を試してください。",
    ),
    (
        r"(.+) fails on a first short text \((.+)\)\. Try another dtype or device, .+",
        "{} は最初の短い文で失敗しました（{}）。数値の精度か装置を変えるか、transformers の別の版を試してください。",
    ),
    (
        r"In (.+), later tokens change what is said of earlier ones \((.+)\): .+",
        "{} では、後のトークンが前のトークンの確率を変えます（{}）。左から右へ書くモデルではないか、"
        "この版の transformers がそう動かしていません。別のモデルを選んでください。",
    ),
    (
        r"This item alone does not fit into memory\. .+",
        "この一問だけでもメモリに入りません。例題を減らすか、小さなモデルを選んでください。",
    ),
    (r"The prompt has no tokens of its own\.", "プロンプトにトークンが一つもありません。"),
    (r"This item has no fixed answers to rank\.", "この問題には、順位づけする決まった答えがありません。"),
    (
        r"One of the answers to rank has no tokens\. .+",
        "順位づけする答えに、トークンのないものがあります。どの答えにも言葉を入れてください。",
    ),
    (
        r"There is no file (.+)\. Give the path of a \.gguf file\.",
        "ファイル {} がありません。.gguf ファイルの場所を入力してください。",
    ),
    (
        r"The files of (.+) lack some weights \((.+)\)\. .+",
        "{} のファイルには重みが足りません（{}）。取得し直すか、書き出し直してください。",
    ),
    (
        r"The package (\S+) is not installed\. .+",
        "パッケージ {} が入っていません。`pip install -r requirements.txt` を実行してください。",
    ),
    (
        r"The model file of the package (.+) could not be written \((.+)\)\. .+",
        "パッケージ {} のモデルのファイルを書き込めません（{}）。空きを作るか、書きかけのファイルを消すか、JGLUE_CACHE_DIR を書き込めるフォルダにしてください。",
    ),
    (
        r"The converted weights of (.+) could not be written to (.+) \((.+)\)\. Free some space there, .+",
        "{} を変換した重みを {} に書き込めません（{}）。空きを作るか、JGLUE_CACHE_DIR を別のフォルダにしてください。",
    ),
    (
        r"(.+) cannot be read as a GGUF model \((.+)\)\. .+",
        "{} は GGUF のモデルとして読めません（{}）。ダウンロードし直すか、safetensors のモデルを使ってください。",
    ),
    (
        r"(.+) is ((?!of a kind|quantized|gated).+) \((.+)\)\. Only causal language models, .+",
        "{} は{}です（{}）。比べられるのは、左から右へ読む因果言語モデルだけです。",
    ),
    (
        r"(.+) is of a kind \((.+)\) that transformers does not load for writing text\. .+",
        "{}（{}）は、transformers で文章を書かせられる種類のモデルではありません。比べられるのは、左から右へ読む因果言語モデルだけです。",
    ),
    (
        r"The config\.json of (.+) names the class (\S+), and transformers would build (\S+) in its place, because that "
        r"belongs to the model_type (\S+)\. .+",
        "{} の config.json にあるクラスは {} ですが、transformers は代わりに {} を組み立てます（model_type が {} のため）。誤っているほうを直すか、ほかのモデルを選んでください。",
    ),
    (
        r"(.+) holds an adapter \((.+)\) for the model (.+), and adapters are not applied here\. .+",
        "{0} には {2} 用のアダプタ（{1}）が入っています。ここではアダプタを適用しないので、先にそのモデルへマージして（peft の merge_and_unload()）、マージしたフォルダを指定してください。",
    ),
    (
        r"(.+) holds an adapter \((.+)\), and adapters are not applied here\. .+",
        "{} にはアダプタ（{}）が入っています。ここではアダプタを適用しないので、先に元のモデルへマージして（peft の merge_and_unload()）、マージしたフォルダを指定してください。",
    ),
    (
        r"The weights of (.+) are under a name that transformers does not look for \((.+)\)\. .+",
        "{} の重みのファイル名（{}）は transformers が探す名前ではありません。model.safetensors に変えるか、書き出し直してください。",
    ),
    (
        r"The weights of (.+) are in several files \(such as (.+)\), and the list of them \((.+)\) is missing\. .+",
        "{} の重みはいくつかのファイル（{} など）に分かれていますが、その一覧（{}）がありません。一覧も取得するか、書き出し直してください。",
    ),
    (
        r"(\S+) of (.+) is empty\. .+",
        "{1} の {0} は空です。取得やコピーが途中で終わったようです。取得し直してください。",
    ),
    (
        r"(\S+) of (.+) is a pointer of Git LFS and not the file itself\. .+",
        "{1} の {0} は Git LFS のポインタで、ファイルそのものではありません。フォルダで `git lfs pull` を実行するか、取得し直してください。",
    ),
    (
        r"(\S+) of (.+) is cut off: (\S+) of (\S+) bytes are there\. .+",
        "{1} の {0} は途中で切れています（{3} バイトのうち {2} バイト）。取得し直してください。",
    ),
    (r"(\S+) of (.+) is cut off\. Fetch .+", "{1} の {0} は途中で切れています。取得し直してください。"),
    (
        r"(\S+) of (.+) is no safetensors file, or a damaged one\. .+",
        "{1} の {0} は safetensors のファイルではないか、壊れています。取得し直すか、書き出し直してください。",
    ),
    (
        r"(\S+) of (.+) begins with a byte-order mark, which transformers does not read\. .+",
        "{1} の {0} の先頭に BOM があり、transformers では読めません。BOM なしの UTF-8 で保存し直してください。",
    ),
    (
        r"(\S+) of (.+) names a token that ends a text by (.+), which is no id\. .+",
        "{1} の {0} では、文章を終えるトークンが番号でない値（{2}）になっています。eos_token_id に整数を書くか、取得し直してください。",
    ),
    (
        r"The files of (.+) hold weights without content \((.+)\), as training in parts \(DeepSpeed ZeRO-3\) .+",
        "{} のファイルに中身のない重み（{}）があります。分割した学習（DeepSpeed ZeRO-3）の途中の形のようです。zero_to_fp32.py でまとめるか、書き出し直してください。",
    ),
    (
        r"The weights of (.+) do not have the sizes that its config\.json describes \((\S+) is (\S+) in the files and (\S+) by config\.json\)\. .+",
        "{} の重みの大きさが config.json と合いません（{} はファイルでは {}、config.json では {}）。両方が揃うように、取得し直すか、書き出し直してください。",
    ),
    (
        r"The files of (.+) hold an output layer that differs from the embedding, .+",
        "{} のファイルの出力層は埋め込みと異なりますが、config.json では同じもの（tie_word_embeddings）とされています。どちらを使うかはソフトウェアによって違うため、ファイルの出力層を使うなら tie_word_embeddings を false にするか、書き出し直してください。",
    ),
    (
        r"All tokens are equally likely for (.+) whatever it reads: .+",
        "{} では、何を読んでもすべてのトークンの確率が同じです。マージや書き出しに失敗して、出力層か重み全体が 0 になっているようです。取得し直すか、書き出し直してください。",
    ),
    (
        r"(\S+) of (.+) does not list its weight files\. .+",
        "{1} の {0} に重みのファイルの一覧がありません。取得し直すか、書き出し直してください。",
    ),
    (
        r"(\S+) of (.+) names a file outside the model \((.+)\)\. .+",
        "{1} の {0} は、モデルの外のファイル（{2}）を指しています。取得し直してください。",
    ),
    (
        r"The weight file (.+) of (.+) is missing\. .+",
        "{1} の重みのファイル {0} がありません。取得やコピーが途中で終わったようです。取得し直してください。",
    ),
    (
        r"(\S+) of (.+) cannot be read \((.+)\)\. Fetch the model again\.",
        "{1} の {0} を読めません（{2}）。取得し直してください。",
    ),
    (
        r"(?!The quantization_config)(\S+) of (.+) holds no table\. .+",
        "{1} の {0} が表になっていません。取得し直すか、書き出し直してください。",
    ),
    (
        r"(.+) is quantized, and the settings are in (\S+) where transformers does not look\. .+",
        "{} は量子化されていますが、設定が {} にあり、transformers には読めません。いまの道具で書き出し直すか、量子化していないものを選んでください。",
    ),
    (
        r"The quantization_config of (.+) holds no table\. .+",
        "{} の quantization_config が表になっていません。取得し直すか、書き出し直してください。",
    ),
    (
        r"The weights of (.+) are quantized in a way that transformers does not load \((.+)\)\. .+",
        "{} の重みの量子化の方式（{}）は、transformers では読み込めません。量子化していないものか、bitsandbytes・GPTQ・AWQ などのものを選んでください。",
    ),
    (
        r"The weights of (.+) are quantized already \((.+)\), and cannot be quantized to (\S+) on top of that\. .+",
        "{} の重みはもう量子化されています（{}）。重ねて {} にはできません。「量子化」を「なし」にするか、量子化していないモデルを指定してください。",
    ),
    (
        r"The weights of (.+) are quantized \((.+)\), which needs (.+)\. Run .+",
        "{} の重みは量子化されていて（{}）、読み込むには {} が必要です。pip install で入れるか、量子化していないものを選んでください。",
    ),
    (
        r"The weights of (.+) are quantized \((.+)\), and its config\.json does not say how\. .+",
        "{} の重みは量子化されていますが（{}）、その方式が config.json にありません。取得し直すか、量子化していないものを選んでください。",
    ),
    (
        r"The config\.json of (.+) calls its weights quantized \((.+)\), and the files hold plain ones\. .+",
        "{} の config.json では重みが量子化されていること（{}）になっていますが、ファイルの中身は普通の重みです。config.json から quantization_config を取り除くか、取得し直してください。",
    ),
    (
        r"The files of (.+) hold weights that have no place in the model that its config\.json describes \((.+)\)\. .+",
        "{} のファイルには、config.json の示すモデルのどこにも入らない重み（{}）があります。取得し直すか、書き出し直してください。",
    ),
    (
        r"(.+) is quantized \((.+)\) and could not be loaded here \((.+)\)\. .+",
        "{} は量子化されたモデル（{}）で、ここでは読み込めません（{}）。ほかの装置を使うか、量子化していないものを選んでください。",
    ),
    (
        r"(.+) failed (while it was set up|while it wrote|while it scored answers|\d+) \((.+)\)\. .+",
        "{} は{}失敗しました（{}）。dtype や装置を変えるか、ほかのモデルを選んでください。",
    ),
    (
        r"The token (.+) \(id (\d+)\) has no row in the embedding of (.+), which has (\d+) rows: .+",
        "トークン {0}（番号 {1}）が {2} の埋め込み（{3} 行）にありません。トークナイザと重みが合っていないので、重みに付属のトークナイザを使うか、このトークンを使わない書式を選んでください。",
    ),
    (
        r"There is not enough memory for (.+)\. Choose a smaller model\.",
        "{} にはメモリが足りません。小さなモデルを選んでください。",
    ),
    (
        r"There is not enough memory for (.+)\. Choose 8-bit .+",
        "{} にはメモリが足りません。「量子化」を 8-bit か 4-bit にするか、小さなモデルを選んでください。",
    ),
    (
        r"(.+) needs about ([\d.]+) GB and ([\d.]+) GB are free\. Choose a smaller model\.",
        "{} には約 {} GB のメモリが必要ですが、空きは {} GB です。小さなモデルを選んでください。",
    ),
    (
        r"(.+) needs about ([\d.]+) GB and ([\d.]+) GB are free\. Choose 8-bit .+",
        "{} には約 {} GB のメモリが必要ですが、空きは {} GB です。「量子化」を 8-bit か 4-bit にするか、小さなモデルを選んでください。",
    ),
    (
        r"The tokenizer of (.+) could not be loaded \((.+)\)\. .+",
        "{} のトークナイザを読み込めません（{}）。transformers だけで動く文章生成モデルかどうか、確かめてください。",
    ),
    (
        r"(?!The tokenizer of )(.+) could not be loaded \((.+)\)\. Check .+",
        "{} を読み込めません（{}）。transformers だけで動く文章生成モデルかどうか、確かめてください。",
    ),
    (
        r"The tokenizer that transformers makes for (.+) is not that of its file (.+): (.+)\. Choose a repository .+",
        "transformers が {} のために作るトークナイザは、モデルのファイル {} と一致しません（{}）。tokenizer.json のあるリポジトリを選んでください。",
    ),
    (
        r"The tokenizer of (.+) gives the same text other tokens each time, .+",
        "{} のトークナイザは、同じ文章を毎回ちがうトークンに分けるので、点を再現できません。無作為に分けないトークナイザのあるリポジトリを選んでください。",
    ),
    (
        r"(.+) has a tokenizer of the class (.+), which needs a package that is not installed \((.+)\)\. .+",
        "{} のトークナイザ {} に必要なパッケージがありません（{}）。インストールするか、tokenizer.json のあるリポジトリを選んでください。",
    ),
    (
        r"transformers cannot make the (.+) of (.+) from its file (.+)\. Choose a repository .+",
        "transformers は、{1} のファイル {2} からトークナイザ {0} を作れません。tokenizer.json のあるリポジトリを選んでください。",
    ),
    (
        r"The file (.+) of (.+) does not say how text is cut before it is looked up, .+",
        "{1} の {0} には、文章の区切り方が書かれていません。tokenizer.json のあるリポジトリを選んでください。",
    ),
    (
        r"The tokenizer of (.+) has no chat template\. .+",
        "{} には対話テンプレートがありません。plain や alpaca など、ほかの書式を選んでください。",
    ),
    (
        r"The chat template of (.+) refused this conversation \((.+)\)\. .+",
        "{} の対話テンプレートが、このやりとりを受け付けません（{}）。ほかの書式を選んでください。",
    ),
    (
        r"The device (.+) needs an? (.+) GPU, and none was found\. .+",
        "計算装置 {} には {} の GPU が必要ですが、見つかりません。アプリを `--device cpu` で起動してください。",
    ),
    (
        r"There is no device (.+): this machine has (.+) to (.+)\.",
        "計算装置 {} はありません。この計算機にあるのは {} から {} までです。",
    ),
    (
        r"8-bit and 4-bit need the package bitsandbytes\. .+",
        "8-bit と 4-bit にはパッケージ bitsandbytes が必要です。「量子化」を「なし」にするか、`pip install bitsandbytes` を実行してください。",
    ),
    (
        r"8-bit and 4-bit do not run on Apple GPUs\. .+",
        "8-bit と 4-bit は Apple の GPU では動きません。「量子化」を「なし」にするか、アプリを `--device cpu` で起動してください。",
    ),
    (
        r"8-bit needs a GPU of compute capability 7\.5 or later\. .+",
        "8-bit には compute capability 7.5 以上の GPU が必要です。「量子化」を 4-bit か「なし」にしてください。",
    ),
    (
        r"([\d.]+) GiB of working memory were asked for and ([\d.]+) GiB are free\. .+",
        "作業用に {} GiB を使う設定ですが、空きは {} GiB です。JGLUE_MEMORY を小さくするか、指定をやめてください。",
    ),
    (
        r"This server runs the listed models as they are: .+",
        "このサーバーでは、一覧のモデルをそのまま使います。リビジョン・GGUF ファイル・.bin の重みは指定できません。",
    ),
    (
        r"The folder (.+) holds no config\.json\. .+",
        "フォルダ {} に config.json がありません。transformers のモデルのフォルダを入力してください。",
    ),
    (r"(.+) has no config\.json: .+", "{} には config.json がなく、transformers のモデルではありません。"),
    (
        r"(.+) has no safetensors weights\..*",
        "{} には safetensors の重みがありません。ほかのモデルを選ぶか、ダウンロードした .gguf ファイルの場所を入力してください。",
    ),
    (
        r"(.+) has only pickled \.bin weights\. .+",
        "{} には pickle 形式の .bin の重みしかありません。手元で動かしているなら「safetensors のないモデルで .bin の重みを読む」を選んでください。",
    ),
    (
        r"There is no model (.+) on this machine or on the Hugging Face Hub .+",
        "モデル {} は、この計算機にも Hugging Face Hub にもありません（非公開かもしれません）。一覧から選ぶか、owner/name の形で入力してください。",
    ),
    (
        r"(.+) is gated or private\. .+",
        "{} は利用に同意が要るか、非公開のモデルです。Hugging Face Hub のページで同意して HF_TOKEN を設定するか、ほかのモデルを選んでください。",
    ),
    (
        r"(.+) is ([\d.]+) GB to download and ([\d.]+) GB of disk are free\. .+",
        "{} は {} GB ありますが、ディスクの空きは {} GB です。空きを作るか、HF_HOME を別のディスクにしてください。",
    ),
    (
        r"(.+) needs to run code from its repository, .+",
        "{} を使うにはリポジトリのコードを動かす必要があり、このアプリでは動かしません。transformers だけで動くモデルを選んでください。",
    ),
    (r"Tables of answers can be used in local mode only\.", "答えの表は、手元で動かしたときだけ使えます。"),
    (
        r"(.+?), (.+)\. Each line is an object with .+",
        "{}：{}。一行ずつ、'item_id' と 'text' のあるオブジェクトにしてください。",
    ),
    (r"The table has no text for item (.+)\.", "答えの表に、問題 {} の文章がありません。"),
    (r"The table has no log-probabilities for (.+)\.", "答えの表に、問題 {} の対数確率がありません。"),
    # --- files of data ---
    (
        r"This user has no home folder, and none can be made among the temporary files\. .+",
        "このユーザーにはホームフォルダがなく、一時フォルダにも作れません。JGLUE_CACHE_DIR（または HOME）を、書き込めるフォルダにしてください。",
    ),
    (
        r"(\S+) names (.+), which is a folder\. Point it at a file of certificates, or unset it\.",
        "{} の {} はフォルダです。証明書のファイルを指定するか、設定を外してください。",
    ),
    (
        r"(\S+) names (.+), which holds no usable certificates\. .+",
        "{} の {} には使える証明書がありません。証明書のファイルを指定するか、設定を外してください。",
    ),
    (
        r"(\S+) names (.+), which cannot be read \((.+)\)\. .+",
        "{} の {} を読めません（{}）。証明書のファイルを指定するか、設定を外してください。",
    ),
    (
        r"(\S+) names (.+), which is not a folder\. Point it at a folder of certificates, or unset it\.",
        "{} の {} はフォルダではありません。証明書のフォルダを指定するか、設定を外してください。",
    ),
    (
        r"(\S+) takes the address of a proxy, .+",
        "{} にはプロキシのアドレス（http://proxy.example:8080 など）を書きます。直すか、設定を外してください。",
    ),
    (
        r"(\S+) names a proxy of the kind (.+); known are (.+)\. Correct or unset it\.",
        "{} のプロキシの種類 {} は使えません（使えるのは {}）。直すか、設定を外してください。",
    ),
    (
        r"(\S+) names a SOCKS proxy, for which the package socksio is missing\. .+",
        "{} は SOCKS プロキシですが、それに要るパッケージ socksio がありません。pip install socksio で入れるか、設定を外してください。",
    ),
    (
        r"JGLUE_DATA_DIR names (.+), which is not a folder\. Point it at the folder that holds .+",
        "JGLUE_DATA_DIR の {} はフォルダではありません。jnli-v1.3 などが入ったフォルダを指定するか、設定を外してください。",
    ),
    (
        r"(.+) cannot be read \((.+)\)\. Check its permissions, or point JGLUE_DATA_DIR and .+",
        "{} を読めません（{}）。権限を確かめるか、JGLUE_DATA_DIR と JGLUE_CACHE_DIR を別のフォルダにしてください。",
    ),
    (
        r"(.+): the download cannot be stored there \((.+)\)\. .+",
        "{} にダウンロードを保存できません（{}）。JGLUE_CACHE_DIR を、書き込めるフォルダにしてください。",
    ),
    (
        r"(.+) It was a download, and nothing of it was kept: .+",
        "{}ダウンロードしたものなので、何も残していません。接続と JGLUE_DATA_URL を確かめてください。",
    ),
    (r"(\S+) answered (\d+)\. (.+)", "{} の応答は {} でした。{}"),
    (r"(\S+) could not be downloaded \((.+)\)\. (.+)", "{} をダウンロードできません（{}）。{}"),
    (
        r"Check the connection, .+, or use the embedded samples .+",
        "「データ」で「見本」を選ぶか、接続を確かめるか、JGLUE_DATA_DIR のフォルダにファイルを置いてください。",
    ),
    (
        r"Check the connection, or (?!use ).+",
        "接続を確かめるか、JGLUE_DATA_DIR のフォルダにファイルを置いてください。",
    ),
    (
        r"There are no (\w+) items of (.+): its official files are not distributed, and .+",
        "「{}」の問題は {} にありません。公式のファイルは配布されておらず、見本にもこの分割はありません。このサブセットを外すか、「データ」で「公式 JGLUE v1.3」を選んでください。",
    ),
    (
        r"The embedded samples of (.+) have no '(\w+)' split\. .+",
        "{} の見本に「{}」の分割はありません。「データ」で公式のデータを選んでください。",
    ),
    (
        r"--labels (.+) concerns the official JNLI dev items alone, .+",
        "--labels {} は公式の JNLI の dev にだけ関わりますが、ここにはその問題がありません。--labels を外してください。",
    ),
    (r"The labels of v1\.2 are those of v1\.3\.", "v1.2 のラベルは v1.3 と同じです。"),
    (
        r"(.+): this is not the official JGLUE v1\.3 file \(sha256 (\w+), expected (\w+)\)\. It is truncated or altered(.*)\.",
        "{} は公式の JGLUE v1.3 のファイルではありません（sha256 は {}、正しくは {}）。欠けているか、書きかえられています。{}",
    ),
    (r": delete it and run `.+`", "削除すると、次の実行で取得し直します。"),
    (
        r"(.+): cannot be read \((.+)\)\. .+",
        "{} を読めません（{}）。読めるファイルの場所を入力してください。",
    ),
    (r"(.+), line (\d+): not UTF-8\. .+", "{} の {} 行目が UTF-8 ではありません。UTF-8 で保存し直してください。"),
    (
        r"(.+): begins as (.+) and does not go on so\. .+",
        "{} は {} として始まりますが、途中からそうではありません。UTF-8 で保存し直してください。",
    ),
    (
        r"(.+): is packed as (.+)\. Unpack it, .+",
        "{} は圧縮されています（{}）。展開するか、JSON Lines で保存し直して、そのファイルを指定してください。",
    ),
    (r"(.+): a column stands twice\. .+", "{} に同じ名前の列が二つあります。列の名前は一度ずつにしてください。"),
    (
        r"(.+): not a sound Parquet or Arrow file \((.+)\)\. .+",
        "{} は正しい Parquet や Arrow のファイルではありません（{}）。書き出し直してください。",
    ),
    (
        r"(.+), row (\d+): the dataset viewer has cut a text off\. .+",
        "{} の {} 行目の文章は、データセットビューアーが途中で切っています。データセットのファイルそのものを取得してください。",
    ),
    (
        r"(.+): ([^:]+)\. Verified after normalising: the text is that of the official file\.",
        "{}：公式のファイルとの違いは書き方だけです（{}）。そろえてから検査し、中身が公式のものと同じことを確かめました。",
    ),
    (
        r"(.+): another format\. Verified after normalising: its rows are those of the official file\.",
        "{} は公式のファイルと形式が違いますが、そろえてから検査し、すべての行が公式のものと同じことを確かめました。",
    ),
    (r"(.+?), (.+)\. Correct the file(.*)\.", "{}：{}。ファイルを直してください{}。"),
    (r", or delete it and run `.+`", "（削除すると、次の実行で取得し直します）"),
    (
        r"(.+): holds no items\. Give a file in the official (.+) format\.",
        "{} に問題がありません。公式の {} の形式のファイルにしてください。",
    ),
    (r"((?:line|article|entry|row) \d[^:]*|top level): (.+)", "{}：{}"),
    (r"line (\d+)", "{} 行目"),
    (r"row (\d+)", "表の {} 行目"),
    (r"entry (\d+)", "{} 番目"),
    (r"line (\d+), column (\d+)", "{} 行目 {} 文字目"),
    (r"article (\d+)", "記事 {}"),
    (r"article (\d+), paragraph (\d+)", "記事 {}・段落 {}"),
    (r"article (\d+), paragraph (\d+), question (\d+)", "記事 {}・段落 {}・質問 {}"),
    (r"top level", "いちばん外側"),
    (r"not valid JSON \((.+)\)", "正しい JSON ではありません（{}）"),
    (r"JSON beyond what can be read \((.+)\)", "読める範囲を超えた JSON です（{}）"),
    (r"expected a JSON object, found (\w+)", "JSON のオブジェクトではありません（{}）"),
    (r"the key (.+) stands twice", "キー {} が二度書かれています"),
    (r"not as many cells as columns \((\d+)\)", "セルの数が列の数（{}）と違います"),
    (r"not valid CSV \((.+)\)", "正しい CSV ではありません（{}）"),
    (
        r"(\w+) (-?\d+)(.*) has no name; the file names (.+)",
        "{} の {}{} に名前がありません（このファイルにある名前は {}）",
    ),
    (r" \(the label is kept secret\)", "（伏せられたラベル）"),
    (r"the id (.+) was already used at (.+)", "ID {} は {} で使われています"),
    (r"field (.+) is missing", "欄 {} がありません"),
    (r"field (.+) must be a non-empty text, found (.+)", "欄 {} は空でない文章にしてください（いまは {}）"),
    (r"field (.+) must be a text or a whole number, found (.+)", "欄 {} は文字列か整数にしてください（いまは {}）"),
    (
        r"field 'label' must be a number from (\S+) to (\S+), found (.+)",
        "欄 'label' は {} から {} までの数にしてください（いまは {}）",
    ),
    (
        r"unknown label (.+); expected 0 \(unacceptable\) or 1 \(acceptable\)",
        "ラベル {} はありません（0＝容認不可、1＝容認可能のどちらかにしてください）",
    ),
    (r"unknown label (.+); expected one of ([^.]+)", "ラベル {} はありません（{} のどれかにしてください）"),
    (
        r"unknown label (.+); expected one of ([^.]+)\. What a number stands for differs .+",
        "ラベル {} はありません（{} のどれかにしてください）。番号の意味は書き出し方によって違うので、名前で書くか、"
        "名前の入った Parquet ファイルを指定してください",
    ),
    (r"not in the JSQuAD format \((.+)\)", "JSQuAD の形式ではありません（{}）"),
    (
        r"JSQuAD has no unanswerable questions, but 'is_impossible' is true",
        "JSQuAD に答えのない質問はないのに、'is_impossible' が true です",
    ),
    (r"field 'answers' must list at least one answer", "欄 'answers' に答えを一つ以上書いてください"),
    (
        r"every entry of 'answers' must be an object with a 'text'",
        "'answers' の中は、どれも 'text' のあるオブジェクトにしてください",
    ),
    (r"'item_id' is missing", "'item_id' がありません"),
    (r"(\S+) must be a text", "{} は文字列にしてください"),
    (r"'seconds' must be a number", "'seconds' は数にしてください"),
    (r"'choice_logprobs' must be a list of finite numbers", "'choice_logprobs' は有限の数の並びにしてください"),
    # --- wording styles ---
    (
        r"The style (.+) has no section (\[.+\])\. .+",
        "言い回し {} に {} の節がありません。節を足すか、そのサブセットを外してください。",
    ),
    (
        r"There is no style file (.+)\. Known styles: (.+)\.",
        "言い回しのファイル {} がありません。使える言い回しは {} です。",
    ),
    (
        r"(.+): larger than ([\d,]+) bytes; .+",
        "{} は {} バイトを超えています。言い回しのファイルは一ページほどの文章です。",
    ),
    (r"(.+): not a TOML file in UTF-8 \((.+)\)\.", "{} は UTF-8 の TOML ファイルではありません（{}）。"),
    (r"(.+): (.+) must be a table\.", "{}：{} は表にしてください。"),
    (
        r"(.+): (.+) stop must be a list of non-empty texts\.",
        "{}：{} の stop は、空でない文字列の並びにしてください。",
    ),
    (
        r"(.+): (.+) max_new_tokens must be a whole number from 1 to 4096\.",
        "{}：{} の max_new_tokens は 1 から 4096 までの整数にしてください。",
    ),
    (r"(.+): (\[.+\.answers\]) must name exactly (.+)\.", "{}：{} に書けるのは、ちょうど {} です。"),
    (r"(.+): (\[.+\.answers\]) uses one text for two labels\.", "{}：{} で、二つのラベルが同じ言葉です。"),
    (
        r"(.+): (.+) has (.+), which means nothing\. Known: (.+)\.",
        "{}：{} に意味のない {} があります。使えるのは {} です。",
    ),
    (r"(.+): (.+) needs a text (\S+)\.", "{}：{} に文章 {} が必要です。"),
    (r"(.+): (.+) (\S+) must be text\.", "{}：{} の {} は文章にしてください。"),
    (
        r"(.+): (.+) (\S+) has a stray \$; .+",
        "{}：{} の {} に余分な $ があります。$ そのものは $$ と書きます。",
    ),
    (
        r"(.+): (.+) (\S+) names (\$.+); (.+) has (\$.+)\.",
        "{}：{} の {} にある {} は使えません。{} で使えるのは {} です。",
    ),
    # --- thoughts ---
    (
        r"The limit on tokens of a thought must be from 1 to ([\d,]+)\.",
        "思考の上限は 1 から {} までの整数にしてください。",
    ),
    # --- repetition ---
    (
        r"The repetition penalty is a number above 0, such as 1\.2; 1 is none\.",
        "繰り返しペナルティは 0 より大きい数にしてください（例：1.2）。1 は「なし」です。",
    ),
    # --- what the linter finds ---
    (
        r"(.+) has no chat template, so the format chat cannot be used\. .+",
        "{} には対話テンプレートがないので、書式 chat は使えません。plain か alpaca を選んでください。",
    ),
    (
        r"\S+ need more than the (\d+) new tokens allowed: (.+) tokens\. .+ Raise max_new_tokens to (\d+).*\.",
        "{} トークンまでしか書けないのに、もっと必要な答えがあります：{} トークン。max_new_tokens を {} に上げてください。",
    ),
    (
        r"There is no stop string: .+ goes on to its (\d+) new tokens, .+",
        "停止文字列がありません。終わりの印を書かないモデルは {} トークンまで書き続け、行の残りも答えになります。改行などを言い回しに足してください。",
    ),
    (
        r"There is no stop string, as in the system whose protocol this is: .+",
        "この採点方法のもとのプログラムと同じく、停止文字列がありません。答えの続きも出力に入ります。",
    ),
    (
        r"The stop string (.+) occurs in the answer 「(.+)」, .+",
        "停止文字列 {} が答え「{}」の中にあり、そこで切れます。ほかの文字列を選んでください。",
    ),
    (
        r"The examples are uneven \((.+)\): .+",
        "例題のラベルが偏っています（{}）。モデルは多く見たラベルをくり返しがちです。例題の数を変えるか、コマンドで `--shot-selection balanced` を使ってください。",
    ),
    (
        r"The same example stands in the prompt twice\. .+",
        "同じ例題がプロンプトに二度あります。例題の数を減らしてください。",
    ),
    (
        r"The labels have different numbers of tokens \((.+)\): .+",
        "ラベルのトークン数がふぞろいです（{}）。対数尤度の合計は短いラベルに有利です。",
    ),
    (
        r"The prompt begins with (.+) twice: .+",
        "プロンプトの先頭に {} が二つあります。文章とトークナイザの両方が付けるので、文章から除いてください。",
    ),
    (
        r"The tokenizer puts (.+) before every text, but .+",
        "トークナイザはどの文章の前にも {} を付けますが、対話テンプレートが省いています。それ付きで学習したモデルは、答えが悪くなることがあります。",
    ),
    (
        r"The model knows the token (.+), and its tokenizer does not put it first\. .+",
        "モデルはトークン {} を知っていますが、トークナイザは先頭に付けません。そういう設計のモデルもあります。ほかのプログラムが付けるなら、点が変わります。",
    ),
    (
        r"The model names no end token: .+",
        "モデルに終わりの印がありません。答えは、停止文字列か長さの上限でしか終わりません。",
    ),
    (
        r"The tokenizer puts (.+) after every text, .+",
        "トークナイザはどの文章の後にも {} を付けます。ここでは外しています。ほかのプログラムでは付いたまま採点されることがあります。",
    ),
    (
        r"The prompt ends with (.+): to the model .+",
        "プロンプトが {} で終わり、モデルには話が終わったように見えます。文章から除いてください。",
    ),
    (
        r"The chat template closes a turn with (.+), but generation ends at (.+): .+",
        "対話テンプレートは話者の終わりに {} を置きますが、生成が止まるのは {} です。次の話者の分まで書き続けることがあります。",
    ),
    (
        r"The model has a chat template, and the format is plain\. .+",
        "モデルには対話テンプレートがあり、書式は plain です。対話で学習したモデルなら、「プロンプト書式」の chat も試してください。",
    ),
    (
        r"The prompt opens a thought \((.+)\) although thinking is off: its template .+",
        "思考なしの設定ですが、プロンプトが思考（{}）を開きます。テンプレートに切り替えがないか、言い回しが開いています。閉じる印のあとが答えで、閉じなければ答えはありません。",
    ),
    (
        r"The prompt opens a thought \((.+)\): the answer is what follows its closing mark\.",
        "プロンプトが思考（{}）を開きます。閉じる印のあとが答えです。",
    ),
    (
        r"With thinking the prompt ends with (.+), which is no mark known here: .+",
        "思考ありにすると、プロンプトは知らない印 {} で終わり、どこで思考が終わるか分かりません。知っている閉じる印のない出力からは何も読まず、順位は思考なしの形のあとでつけます。思考なし（--thinking off）で使ってください。",
    ),
    (
        r"Thinking is on, and nothing in the prompt turns it on: .+",
        "思考ありの設定ですが、プロンプトに思考の切り替えがありません（書式 chat ではないか、テンプレートに切り替えがない）。モデルは思考なしのときと同じように答えます。書式 chat と、テンプレートに思考の切り替えがあるモデルを選んでください。",
    ),
    (
        r"--max-thinking-tokens has no effect: nothing in the prompt opens a thought\. .+",
        "思考の上限は効きません。プロンプトが思考を開かないためです。モデルが自分から思考を書いた場合だけ、その思考を制限します。",
    ),
    (
        r"Thinking is off, and the template cannot turn it off: .+",
        "思考なしの設定ですが、テンプレートに切り替えがなく、モデルが自分で思考のチャンネルを開きます。",
    ),
    (
        r"A thought and its answer share (\d+) new tokens: .+",
        "思考と答えが合わせて {} トークンしか書けず、長い思考のあとには答えが残りません。思考の上限を別に（2048 など）指定してください。",
    ),
    (
        r"The stop strings (.+) would cut a thought: .+",
        "停止文字列 {} は思考を途中で切ってしまうので、思考が閉じてから、答えだけを止めます。",
    ),
    (
        r"By log-likelihood the labels would be ranked inside the thought, .+ which ends with (.+)\.",
        "このままでは思考の中（または思考の始まるところ）でラベルを順位づけることになるので、思考を閉じた同じプロンプト（終わりは {}）のあとで順位をつけます。",
    ),
    (
        r"The end of the prompt and the answer 「(.+)」 merge into other tokens \((.+) becomes (.+)\): .+",
        "プロンプトの終わりと答え「{}」がつながって、別のトークンになります（{} → {}）。モデルが書くときには通らない位置から採点されます。合図の終わりの文字を変え、空白を入れないでください。",
    ),
    (
        r"After the prompt the answer 「(.+)」 has the tokens (.+), alone (.+)\. Programs .+",
        "答え「{}」のトークンは、プロンプトの後では {}、答えだけでは {} です。別々に区切るプログラムでは点が変わります。",
    ),
    (
        r"(\d+) of (\d+) prompts do not fit: the longest has ([\d,]+) tokens, with (\d+) to be written, and the model takes ([\d,]+)\. .+",
        "{1} 件のうち {0} 件のプロンプトが入りません。いちばん長いものは {2} トークンで、あと {3} トークン書きますが、モデルに入るのは {4} トークンです。例題を減らしてください。",
    ),
    (
        r"(\d+) of (\d+) prompts hold characters that the tokenizer does not know \(([\d.]+) % of the tokens\): .+",
        "{1} 件のうち {0} 件のプロンプトに、トークナイザの知らない文字があります（トークンの {2} %）。日本語の語彙を持つモデルを選んでください。",
    ),
    (
        r"(\d+) of (\d+) prompts do not come back from their tokens as they were: 「(.*)」 becomes 「(.*)」\. .+",
        "{1} 件のうち {0} 件のプロンプトが、トークンから元の文章に戻りません（「{2}」が「{3}」になります）。モデルが読むのは、変わったあとの文章です。",
    ),
    (
        r"The files tokenizer\.json and (.+) of this model make other tokens of the same text\. .+",
        "このモデルの tokenizer.json と {} は、同じ文章から別のトークンを作ります。ここでは前者を使います。後者を読むプログラムとは点が変わります。",
    ),
    (
        r"The tokenizer opens every text with (.+), which is not its BOS alone\. .+",
        "トークナイザはどの文章の前にも {} を付けます。モデルには一度だけ渡しています。BOS だけを付けるプログラムや、何も付けないプログラムとは点が変わります。",
    ),
    (
        r"(\d+) of (\d+) prompts hold a token that the model has no embedding for: (.+) has the id (\d+), and the embedding ([\d,]+) rows\. .+",
        "{1} 件のうち {0} 件のプロンプトに、モデルの埋め込みにないトークンがあります（{2} の番号は {3}、埋め込みは {4} 行）。実行は失敗します。重みに付属のトークナイザを使うか、このトークンを使わない書式を選んでください。",
    ),
    (
        r"The tokenizer needs ([\d.]+) tokens for each character: .+",
        "一文字に平均 {} トークンかかります。日本語をバイトに分けているので、遅くなり、上限に早く届きます。",
    ),
)
"""What layers below the page say: pattern of the English sentence → Japanese one with the same values. Values that are
sentences or parts of one are found here too. No sentence fits two patterns."""

KINDS_JA = {
    "task": "サブセット",
    "metric": "指標",
    "system": "システム",
    "scale": "表記",
    "column": "列",
    "style": "言い回し",
    "format": "プロンプト書式",
    "protocol": "採点方法",
    "model": "モデル",
    "data": "データ",
    "method": "答えさせ方",
    "data or method": "データか答えさせ方",
    "quantization": "量子化",
    "dtype": "数値の精度",
    "thinking": "思考の設定",
    "device": "計算装置",
    "export format": "書き出しの形式",
    "split": "分割",
    "log format": "ログの形式",
}
"""What an `UnknownNameError` is about → Japanese."""

REASONS_JA = {
    "No space left on device": "ディスクに空きがありません",
    "Permission denied": "権限がありません",
    "No such file or directory": "ファイルかフォルダがありません",
    "Is a directory": "フォルダです",
    "Not a directory": "フォルダではありません",
    "Read-only file system": "書き込みのできないディスクです",
    "File name too long": "名前が長すぎます",
    "the disk is full": "ディスクに空きがありません",
    "an encoder (a masked language model), in which every token sees those after it": "エンコーダ（後ろのトークンも見るマスク言語モデル）",
    "a permutation language model, which does not read from left to right": "左から右へ読まない順列言語モデル",
    "an encoder-decoder model": "エンコーダ・デコーダ型のモデル",
    "a reward model or classifier, which gives scores in place of text": "文章ではなく点数を出す報酬モデルか分類器",
    "a model with an answer-extraction head, which writes no text": "文章を書かない、答えを抜き出すモデル",
    "an embedding model, without an output layer for text": "文章を書く出力層のない埋め込みモデル",
    "a model for images, sound or other than text alone": "画像や音声などを扱うモデル",
    "a model whose scores depend on the length of the whole text": "文章全体の長さによって点が変わるモデル",
    "a model with heads that draft several tokens at once, which are not used here": "何トークンか先を下書きするヘッドつきのモデル（ここではヘッドを使えません）",
    "a drafting assistant, which cannot answer without its main model": "本体のモデルなしでは答えられない補助モデル",
    "a decoder that counts positions from its padding token on, which is not done here": "位置をパディングのトークンの次から数えるデコーダ（ここでは未対応）",
    "a diffusion model, which does not write from left to right": "左から右へ書かない拡散モデル",
    "a model whose prompt tokens see those after them": "プロンプトの中で後ろのトークンも見るモデル",
    "its items are samples of this application, not JGLUE": "JGLUE ではなく、このアプリの見本の問題です",
    "its items are from a file of one's own, not from JGLUE": "JGLUE ではなく、手元のファイルの問題です",
    "the number of items of the split is not known": "分割の問題数がわかりません",
    "its answers were cut at the length of the right ones": "答えを正解の長さで切っています",
    "its main metric is undefined for these answers": "この答えでは主指標が定まりません",
    "the metric is undefined for these answers": "この答えでは指標が定まりません",
    "the protocol has no such subset": "この採点方法にないサブセットです",
    "it ranks by log-likelihood, and there are none": "対数尤度で決める採点方法ですが、対数尤度がありません",
    "it reads generated text, and there is none": "文章を読む採点方法ですが、文章がありません",
    "nothing was answered": "答えがありません",
    "while it was set up": "準備の途中で",
    "while it wrote": "文章を書く途中で",
    "while it scored answers": "答えを採点する途中で",
    "nothing": "なし",
}
"""What stands in brackets most often: a reason of the system's → Japanese."""

LONGEST_SAID = 2_000
"""Characters of a message that is looked for: more are not read by people either, and take long to compare."""
_UNKNOWN = re.compile(
    r"Unknown (?P<kind>[\w ]+?) (?P<name>'.*?'|\".*?\")\.(?: Did you mean '(?P<near>.+?)'\?)? Known: (?P<known>.+?)\."
    r"(?: (?P<hint>[A-Z].+))?",
    re.DOTALL,
)


@cache
def _said_ja() -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(pattern, re.DOTALL), japanese) for pattern, japanese in SAID_JA]


def said(message: str, lang: str) -> str:
    """A sentence from below the page in the visitor's language, where there are words for it; else as it is."""
    if lang != "ja" or len(message) > LONGEST_SAID:
        return message
    if (unknown := _UNKNOWN.fullmatch(message)) and unknown["kind"] in KINDS_JA:
        name = f"{KINDS_JA[unknown['kind']]}「{unknown['name'][1:-1]}」"
        near = f"「{unknown['near']}」のことですか。" if unknown["near"] else ""
        hint = said(unknown["hint"], lang) if unknown["hint"] else ""
        return f"{name}はありません。{near}使えるのは {unknown['known']} です。{hint}"
    for pattern, japanese in _said_ja():
        if found := pattern.fullmatch(message):
            return japanese.format(*(said(value, lang) for value in found.groups()))
    return REASONS_JA.get(message, message)


def browser_words() -> gr.I18n:
    """All words as gradio translations."""
    return gr.I18n(
        ja={PREFIX + key: ja for key, (ja, _) in WORDS.items()},
        en={PREFIX + key: en for key, (_, en) in WORDS.items()},
    )


def word(key: str, lang: str) -> str:
    """One text in one language; raises KeyError for an unknown key."""
    return WORDS[key][1 if lang == "en" else 0]


@cache
def table(lang: str) -> dict[str, str]:
    """All texts in one language."""
    return {key: word(key, lang) for key in WORDS}


def rule_text(rule: str, lang: str) -> str:
    """What a reading rule, or several joined by `+`, means; the rule itself where there are no words for it."""
    parts = rule.split("+")
    if any(part not in RULES for part in parts):
        return rule
    return explain(rule) if lang == "en" else "、さらに".join(RULES_JA[part] for part in parts)
