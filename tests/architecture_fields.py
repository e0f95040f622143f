"""Fields of configurations for tiny models of every architecture; see `tests.architectures`."""

from __future__ import annotations

from typing import Any

VOCABULARY = 500
WINDOW = 16
"""Tokens of a sliding window: the prompts but the first are longer."""
CHUNK = 24
"""Tokens of a chunk of attention, likewise."""
ORIGINAL = 100
"""Positions before they are scaled: some prompts are shorter, one is longer."""

Fields = dict[str, Any]

LEAVE = "<default>"
"""A value that leaves the default of the class."""

SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
    "initializer_range": 0.3,
    "init_std": 0.3,
    "embed_init_std": 0.3,
    "embedding_initializer_range": 0.3,
    "initializer_factor": 1.0,
    "max_position_embeddings": 512,
    "n_positions": 512,
    "n_ctx": 512,
    "max_seq_len": 512,
    "max_target_positions": 512,
    "max_source_positions": 64,
    "context_length": 512,
    # Widths.
    "hidden_size": 64,
    "d_model": 64,
    "n_embd": 64,
    "emb_dim": 64,
    "embedding_dim": 64,
    "embedding_size": 64,
    "word_embed_proj_dim": 64,
    "intermediate_size": 96,
    "ffn_dim": 96,
    "ffn_hidden_size": 96,
    "dff": 96,
    "dim_ff": 96,
    "d_inner": 96,
    "feed_forward_size": 96,
    "n_inner": 96,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
    "intermediate_size_mlp": 96,
    "dense_intermediate_size": 96,
    "prefix_dense_intermediate_size": 96,
    "moe_intermediate_size": 32,
    "expert_ffn_hidden_size": 32,
    "shared_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "shared_experts_intermediate_size": 32,
    "moe_shared_expert_intermediate_size": 32,
    "lru_width": 64,
    "attention_hidden_size": 64,
    # Heads.
    "num_attention_heads": 4,
    "n_head": 4,
    "n_heads": 4,
    "attention_heads": 4,
    "num_heads": 4,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "num_encoder_attention_heads": 4,
    "num_decoder_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_kv_heads": 2,
    "swa_num_attention_heads": 4,
    "swa_num_key_value_heads": 2,
    "head_dim": 16,
    "swa_head_dim": 16,
    "dim_head": 16,
    "kv_channels": 16,
    "attention_head_size": 16,
    "rotary_dim": 8,
    "query_pre_attn_scalar": 16,
    # Layers.
    "num_hidden_layers": 4,
    "num_layers": 4,
    "n_layer": 4,
    "n_layers": 4,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "num_encoder_layers": 2,
    "num_decoder_layers": 2,
    "max_window_layers": 2,
    # Experts.
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "top_k_experts": 2,
    "moe_topk": 2,
    "moe_k": 2,
    "n_group": 1,
    "topk_group": 1,
    "n_shared_experts": 1,
    "num_shared_experts": 1,
    "moe_num_shared_experts": 1,
    "first_k_dense_replace": 1,
    "num_dense_layers": 1,
    "router_jitter_noise": 0.0,
    "input_jitter_noise": 0.0,
    "num_mtp_layers": 0,
    # Latent attention and indexers.
    "kv_lora_rank": 16,
    "q_lora_rank": 24,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
    "index_topk": 12,
    "index_head_dim": 16,
    "index_n_heads": 16,
    "o_groups": 2,
    "o_lora_rank": 16,
    "gated_norm_rank": 8,
    # Windows and chunks.
    "sliding_window": WINDOW,
    "sliding_window_size": WINDOW,
    "use_sliding_window": True,
    "attention_window_size": WINDOW,
    "local_attention": WINDOW,
    "window_size": WINDOW,
    "attention_chunk_size": CHUNK,
    "floor_scale": 32,
    "log_scaling_n_floor": 32,
    "original_max_position_embeddings": ORIGINAL,
    "rel_extent": 32,
    "d_rel": 8,
    # Recurrent states.
    "state_size": 8,
    "ssm_state_size": 8,
    "mamba_d_state": 8,
    "mamba_d_conv": 4,
    "mamba_n_heads": 8,
    "mamba_num_heads": 8,
    "mamba_head_dim": 16,
    "n_mamba_heads": 2,
    "mamba_n_groups": 1,
    "n_groups": 1,
    "mamba_chunk_size": 16,
    "chunk_size": 16,
    "block_size": 16,
    "use_mamba_kernels": False,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_head_dim": 16,
    "linear_num_heads": 4,
    # Logits.
    "final_logit_softcapping": 6.0,
    "logits_soft_cap": 6.0,
    "attn_logit_softcapping": 5.0,
    "logit_scale": 0.3,
    "logits_scaling": 2.0,
    "lm_head_multiplier": 0.5,
    "embedding_multiplier": 1.5,
    "residual_multiplier": 0.7,
    "attention_multiplier": 0.3,
    "key_multiplier": 0.8,
    # Per-layer inputs.
    "vocab_size_per_layer_input": VOCABULARY,
    "hidden_size_per_layer_input": 16,
    "laurel_rank": 8,
    # Dropout is off in evaluation; noise is not.
    "hc_mult": 2,
}
"""Values of the fields that a configuration has; what is left keeps the default of its class."""

VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "depth": 1,
    "num_heads": 2,
    "image_size": 32,
    "patch_size": 16,
    "embed_dim": 32,
}
"""The same for what reads images or sound; no such input is given."""

WIDE: Fields = {
    "sliding_window": 128,
    "sliding_window_size": 128,
    "attention_window_size": 128,
    "local_attention": 128,
    "window_size": 128,
    "attention_chunk_size": 128,
    "floor_scale": 128,
    "log_scaling_n_floor": 128,
    "rel_extent": 160,
    "index_topk": 100,
    "keep_window_size": 128,
    "chunk_size": 128,
    "mamba_chunk_size": 128,
    "block_size": 128,
}
"""In the place of those: longer than what a check while loading is likely to read, shorter than the longest prompt."""

FAR_SWITCH = 180
"""Tokens: more than the check while loading reads. One prompt is longer, and the text written to one crosses it."""
FAR: Fields = {
    "sliding_window": FAR_SWITCH,
    "sliding_window_size": FAR_SWITCH,
    "attention_window_size": FAR_SWITCH,
    "local_attention": FAR_SWITCH,
    "window_size": FAR_SWITCH,
    "attention_chunk_size": FAR_SWITCH,
    "floor_scale": FAR_SWITCH,
    "log_scaling_n_floor": FAR_SWITCH,
    "index_topk": FAR_SWITCH,
    "keep_window_size": FAR_SWITCH,
    "original_max_position_embeddings": FAR_SWITCH,
}
"""In the place of those of `SMALL`: switches that only some of the prompts reach, after the model was accepted."""

_ALTERNATING = ["sliding_attention", "full_attention"] * 2
_HALF = 8
"""Of the width of a head: rotary frequencies."""
_THETA: Fields = {"rope_theta": 10_000.0}
_LONGROPE: Fields = {
    "rope_type": "longrope",
    "factor": 4.0,
    "original_max_position_embeddings": ORIGINAL,
    "short_factor": [1.0 + 0.05 * k for k in range(_HALF)],
    "long_factor": [1.5 + 0.4 * k for k in range(_HALF)],
    **_THETA,
}
_CROSSED = _LONGROPE | {"original_max_position_embeddings": 74}
"""Switched while a text is written to a prompt of 66 or 71 tokens."""
_YARN: Fields = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": ORIGINAL, **_THETA}
_LLAMA3: Fields = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": ORIGINAL,
    **_THETA,
}
_FAR_POSITIONS: Fields = {"original_max_position_embeddings": FAR_SWITCH}
_MULTIPLIERS: Fields = {
    "embedding_multiplier": 1.5,
    "logits_scaling": 2.0,
    "residual_multiplier": 0.7,
    "attention_multiplier": 0.3,
}
_GEMMA4: Fields = {
    "global_head_dim": 32,
    "num_global_key_value_heads": 1,
    "layer_types": _ALTERNATING,
    "num_kv_shared_layers": 2,
}
_GEMMA3N: Fields = {
    "layer_types": _ALTERNATING,
    "num_kv_shared_layers": 2,
    "intermediate_size": [96, 96, 64, 64],
    "activation_sparsity_pattern": [0.8, 0.0, 0.0, 0.0],
}
_DSA: Fields = {"layer_types": LEAVE}

OVERRIDES: dict[str, Fields] = {
    "blt": {
        "patcher_config": {"vocab_size": VOCABULARY, "max_position_embeddings": 512},
        "encoder_config": {
            "vocab_size": VOCABULARY,
            "hidden_size_global": 32,
            "cross_attn_k": 1,
            "cross_attn_all_layers": True,
        },
        "decoder_config": {
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "hidden_size_global": 32,
            "intermediate_size": 48,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "num_hidden_layers": 2,
            "cross_attn_k": 1,
        },
        "global_config": {},
        "cross_attn_k": 1,
        "encoder_hash_byte_group_vocab": 100,
        "encoder_hash_byte_group_size": [3, 4],
        "patch_in_forward": True,
    },
    "bailing_hybrid": {"layer_group_size": 2},
    "bamba": {"attn_layer_indices": [1, 3], "mamba_d_head": 16},
    "cohere_compass_text": {
        "layer_types": _ALTERNATING,
        "rope_parameters": {
            kind: {"rope_type": "default", **_THETA} for kind in ("sliding_attention", "full_attention")
        },
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 3.0, "rope_theta": 10_000.0},
        "ffn_config": {"hidden_size": 64, "ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2},
        "rope_parameters": {"rope_type": "default", **_THETA},
    },
    "dots3_note_text": {
        "num_key_value_heads": 4,
        "head_dim": 24,
        "swa_head_dim": 24,
        "per_layer_config": {
            k: {
                "num_attention_heads": 4,
                "num_key_value_heads": 4,
                "head_dim": 24,
                "q_lora_rank": 24,
                "kv_lora_rank": 16,
                "qk_nope_head_dim": 16,
                "qk_rope_head_dim": 8,
                "v_head_dim": 16,
            }
            for k in (0, 2)
        },
        "layer_types": ["sliding_attention", "indexed_attention"] * 2,
    },
    "emu3": {"vocabulary_map": {"<image>": 490, "<|extra_0|>": 491}},
    "gemma3": {"text_config": {"layer_types": _ALTERNATING}},
    "gemma3n": {"text_config": _GEMMA3N},
    "gemma3n_text": _GEMMA3N,
    "gemma4": {"text_config": _GEMMA4},
    "gemma4_text": _GEMMA4,
    "gemma4_unified": {"text_config": _GEMMA4},
    "gemma4_unified_text": _GEMMA4 | {"use_bidirectional_attention": None},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "granite": _MULTIPLIERS,
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * 2, "mamba_d_head": 16},
    "falcon_h1": {"mamba_d_ssm": 128, "mamba_d_head": 16},
    "hrm_text": {"_spread": 0.1},
    "inkling2_loop_text": {
        "unpadded_vocab_size": VOCABULARY,
        "loop_layer_index_start": 2,
        "loop_layer_index_end": 4,
        "loop_num_passes": 2,
        "n_layers_per_attn_res_block": 2,
        "loop_gate_rank": 8,
    },
    "inkling2_text": {"unpadded_vocab_size": VOCABULARY, "n_layers_per_attn_res_block": 2},
    "inkling_text": {"unpadded_vocab_size": VOCABULARY},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "mamba2": {"head_dim": 16, "num_heads": 8},
    "mllama": {"text_config": {"cross_attention_layers": [2]}},
    "mpt": {"attn_config": {"alibi": True}},
    "nemotron_h": {"layers_block_type": ["mamba", "attention", "moe", "mlp"], "mamba_head_dim": 16},
    "qwen4_exp_text": {
        "ple_layer_ids": [1],
        "ple_embed_dim": 16,
        "heads_per_ngram": 2,
        "ngram_vocab_size_base": 1000,
        "make_ngram_vocab_size_divisible_by": 8,
        "hc_lowrank": 8,
        "split_ngram_parts": 4,
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 16,
        "indexer_budget": 32,
        "indexer_compress_ratio": 4,
    },
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "reformer": {
        "axial_pos_embds": False,
        "attn_layers": ["local", "lsh", "local", "lsh"],
        "num_buckets": 8,
        "hash_seed": 1,
    },
    "rembert": {"input_embedding_size": 32, "output_embedding_size": 64},
    "roc_bert": {
        "pronunciation_vocab_size": VOCABULARY,
        "shape_vocab_size": VOCABULARY,
        "pronunciation_embed_dim": 16,
        "shape_embed_dim": 16,
    },
    "xlstm": {"num_blocks": 4},
    "xmod": {"languages": ("en_XX",), "default_language": "en_XX"},
    "zamba": {"num_hidden_layers": 5, "attn_layer_period": 2, "attn_layer_offset": 1, "attention_hidden_size": 128},
    "zaya": {"num_experts_per_tok": 1},
    "zamba2": {
        "layers_block_type": ["mamba", "hybrid"] * 2,
        "n_mamba_heads": 8,
        "num_mem_blocks": 1,
        "use_mem_rope": True,
        "adapter_rank": 8,
    },
}
OVERRIDES["qwen4_exp"] = {"text_config": OVERRIDES["qwen4_exp_text"]}
"""By architecture: fields that replace those of `SMALL`."""

_DECODERS = (
    *("bert", "bert-generation", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert"),
    *("rembert", "roberta", "roberta-prelayernorm", "roc_bert", "roformer", "xlm-roberta", "xlm-roberta-xl", "xmod"),
    "reformer",
)
"""Encoders of which decoders can be made."""
_HALVES = (
    *("bart", "bigbird_pegasus", "blenderbot", "blenderbot-small", "marian", "mbart", "mvp", "pegasus", "plbart"),
    *("prophetnet", "whisper"),
)
"""Encoder–decoders whose decoder can stand alone."""
_NO_WINDOW: Fields = {"use_sliding_window": False, "sliding_window": None, "layer_types": ["full_attention"] * 4}

VARIANTS: dict[str, tuple[str, Fields]] = {
    **{f"{name}-as-decoder": (name, OVERRIDES.get(name, {}) | {"is_decoder": True}) for name in _DECODERS},
    **{f"{name}-decoder": (name, {"is_decoder": True, "is_encoder_decoder": False}) for name in _HALVES},
    # Positions.
    "llama-longrope": ("llama", {"rope_parameters": _LONGROPE}),
    "llama-yarn": ("llama", {"rope_parameters": _YARN}),
    "llama-llama3": ("llama", {"rope_parameters": _LLAMA3}),
    "llama-linear": ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, **_THETA}}),
    "llama-partial": ("llama", {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5, **_THETA}}),
    "llama-biases": ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    "phi3-longrope": ("phi3", {"rope_parameters": _LONGROPE, "sliding_window": None}),
    "phi3-longrope-crossed": (
        "phi3",
        {"rope_parameters": _CROSSED, "original_max_position_embeddings": 74, "sliding_window": None},
    ),
    "phimoe-longrope": (
        "phimoe",
        {"rope_parameters": _LONGROPE | {"short_mscale": 1.1, "long_mscale": 1.3}, "sliding_window": None},
    ),
    "qwen2-yarn": ("qwen2", {"rope_parameters": _YARN, **_NO_WINDOW}),
    "gpt_oss-no-sinks-window": ("gpt_oss", {"layer_types": ["full_attention"] * 4}),
    # Attention.
    "falcon-alibi": ("falcon", {"alibi": True}),
    "falcon-new": ("falcon", {"new_decoder_architecture": True, "bias": True}),
    "falcon-sequential": ("falcon", {"parallel_attn": False, "multi_query": False, "num_kv_heads": 4, "bias": True}),
    "mpt-clipped": ("mpt", {"attn_config": {"alibi": True, "clip_qkv": 2.0, "qk_ln": False}}),
    "gpt2-scaled": ("gpt2", {"scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True}),
    "gpt_bigcode-heads": ("gpt_bigcode", {"multi_query": False}),
    "gpt_neox-sequential": ("gpt_neox", {"use_parallel_residual": False}),
    "opt-350m": ("opt", {"do_layer_norm_before": False, "word_embed_proj_dim": 32}),
    "stablelm-parallel": ("stablelm", {"use_parallel_residual": True, "qk_layernorm": True, "use_qkv_bias": True}),
    "phi-normed": ("phi", {"qk_layernorm": True}),
    "cohere-normed": ("cohere", {"use_qk_norm": True}),
    "olmo-clipped": ("olmo", {"clip_qkv": 2.0}),
    "gemma2-uncapped": ("gemma2", {"attn_logit_softcapping": None}),
    "vaultgemma-uncapped": ("vaultgemma", {"attn_logit_softcapping": None}),
    "gemma3_text-uncapped": ("gemma3_text", {"attn_logit_softcapping": None, "layer_types": _ALTERNATING}),
    "gemma3_text-plain": (
        "gemma3_text",
        {"attn_logit_softcapping": None, "final_logit_softcapping": None, "layer_types": _ALTERNATING},
    ),
    "gemma3_text-bidirectional": (
        "gemma3_text",
        {"attn_logit_softcapping": None, "use_bidirectional_attention": True, "layer_types": _ALTERNATING},
    ),
    "gemma-bidirectional": ("gemma", {"use_bidirectional_attention": True}),
    "gemma4_text-plain": (
        "gemma4_text",
        {"global_head_dim": 16, "num_kv_shared_layers": 0, "layer_types": _ALTERNATING},
    ),
    "gemma4_text-moe": (
        "gemma4_text",
        _GEMMA4 | {"num_kv_shared_layers": 0, "enable_moe_block": True, "attention_k_eq_v": True},
    ),
    "gemma3n_text-unshared": ("gemma3n_text", _GEMMA3N | {"num_kv_shared_layers": 0}),
    # Without the window of their tables.
    **{
        f"{name}-no-window": (name, OVERRIDES.get(name, {}) | _NO_WINDOW)
        for name in ("qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "smollm3", "dots1")
    },
    **{
        f"{name}-no-window": (name, OVERRIDES.get(name, {}) | {"sliding_window": None})
        for name in ("mistral", "mixtral", "phi3", "phimoe", "starcoder2", "doge", "minimax", "nemotron_h", "zaya")
    },
    "doge-moe": ("doge", {"sliding_window": None, "is_moe": True, "num_experts": 16, "keep_window_size": 16}),
    "llama4_text-short-chunk": ("llama4_text", {"attention_chunk_size": 12, "attn_temperature_tuning": False}),
    "llama4_text-no-chunk": ("llama4_text", {"layer_types": ["full_attention"] * 4}),
    "deepseek_v2-lite": ("deepseek_v2", {"q_lora_rank": None}),
    "deepseek_v3-lite": ("deepseek_v3", {"q_lora_rank": None}),
    "deepseek_v3-yarn": (
        "deepseek_v3",
        {"rope_parameters": _YARN | {"mscale": 1.0, "mscale_all_dim": 1.0, "beta_fast": 32, "beta_slow": 1}},
    ),
    "deepseek_v3-groups": ("deepseek_v3", {"n_routed_experts": 8, "n_group": 2, "topk_group": 1}),
    "lfm2-attention": ("lfm2", {"layer_types": ["full_attention"] * 4}),
    "granitemoehybrid-attention": (
        "granitemoehybrid",
        {"layer_types": ["attention"] * 4, "mamba_d_head": 16, "position_embedding_type": "rope"},
    ),
    "minimax-attention": ("minimax", {"layer_types": ["full_attention"] * 4, "sliding_window": None}),
    "minimax-linear": ("minimax", {"layer_types": ["linear_attention"] * 4, "sliding_window": None}),
    "bamba-attention": ("bamba", {"attn_layer_indices": [0, 1, 2, 3], "mamba_d_head": 16}),
    **{
        f"{name}-wide": (name, OVERRIDES.get(name, {}) | {"_wide": True})
        for name in (
            *("mistral", "qwen2", "qwen2_moe", "phimoe", "gemma3_text", "gemma4_text", "gpt_oss", "gpt_neo", "doge"),
            *(
                "llama4_text",
                "inkling_text",
                "recurrent_gemma",
                "deepseek_v4",
                "deepseek_v32",
                "minimax",
                "granite_swa",
            ),
            *("modernbert-decoder", "exaone4", "cohere2", "starcoder2"),
        )
    },
    # Switches that the first comparison does not reach.
    **{
        f"{name}-far": (name, OVERRIDES.get(name, {}) | {"_far": True})
        for name in (
            *("mistral", "qwen2", "qwen2_moe", "qwen3", "gemma3_text", "gemma4_text", "gpt_oss", "gpt_neo", "cohere2"),
            *("llama4_text", "deepseek_v32", "olmo3", "exaone4", "phi3", "cwm", "starcoder2"),
        )
    },
    "modernbert-decoder-far": ("modernbert-decoder", {"local_attention": 2 * FAR_SWITCH}),  # Half of it on each side.
    "llama-llama3-far": ("llama", {"rope_parameters": _LLAMA3 | _FAR_POSITIONS}),
    "llama-yarn-far": ("llama", {"rope_parameters": _YARN | _FAR_POSITIONS}),
    "llama-longrope-far": ("llama", {"rope_parameters": _LONGROPE | _FAR_POSITIONS}),
    "cwm-llama3-far": ("cwm", {"rope_parameters": _LLAMA3 | _FAR_POSITIONS, "_far": True}),
    "qwen2-yarn-far": ("qwen2", {"rope_parameters": _YARN | _FAR_POSITIONS, **_NO_WINDOW}),
    "phi3-longrope-far": (
        "phi3",
        {"rope_parameters": _LONGROPE | _FAR_POSITIONS, **_FAR_POSITIONS, "sliding_window": None},
    ),
    "phi3-longrope-window-far": ("phi3", {"rope_parameters": _LONGROPE | _FAR_POSITIONS, "_far": True}),
    "phimoe-longrope-far": (
        "phimoe",
        {
            "rope_parameters": _LONGROPE | {"short_mscale": 1.1, "long_mscale": 1.3} | _FAR_POSITIONS,
            "sliding_window": None,
        },
    ),
    "deepseek_v3-yarn-far": (
        "deepseek_v3",
        {
            "rope_parameters": _YARN
            | {"mscale": 1.0, "mscale_all_dim": 1.0, "beta_fast": 32, "beta_slow": 1}
            | _FAR_POSITIONS
        },
    ),
    "hrm_text-causal": ("hrm_text", {"prefix_lm": False, "_spread": 0.1}),
    "minimax-large-block": ("minimax", {"block_size": 256}),
    "llama-longrope-crossed": ("llama", {"rope_parameters": _CROSSED}),
    "llama-longrope-within": ("llama", {"rope_parameters": _LONGROPE | {"original_max_position_embeddings": 512}}),
    "llama-dynamic": (
        "llama",
        {"rope_parameters": {"rope_type": "dynamic", "factor": 4.0, **_THETA}, "max_position_embeddings": 300},
    ),
}
"""Further models: a name → the architecture and its fields."""

NOT_ALONE = {
    "dots3_note": "Its part that reads text is tried as dots3_note_text.",
    "gemma3n": "What reads its images needs timm; its part that reads text is tried as gemma3n_text.",
    "gemma4_assistant": "It guesses tokens from the states of another model and says nothing alone.",
    "gemma4_unified_assistant": "It guesses tokens from the states of another model and says nothing alone.",
    "musicgen": "It writes sound, not text.",
    "musicgen_melody": "It writes sound, not text.",
    "reformer": "Its class can be made as a decoder only: see reformer-as-decoder.",
}
"""Why an architecture cannot be made with random weights, or is not worth it."""
