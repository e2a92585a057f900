"""Model folders of every kind, benign and hostile, and what loading them touches.

Run as a script with a folder of benign models, it loads all of them under an audit hook of Python, and prints
one line of JSON for each.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Change = Callable[[dict[str, Any]], object]
HUGE = 10**9


def sentence(**config: Any) -> Change:
    """Changes the configuration of a transformer; a `model_type` replaces it."""

    def change(encoder: dict[str, Any]) -> None:
        held = encoder["sentence"]
        before = {} if "model_type" in config else json.loads(held["config"])
        held["config"] = json.dumps({**before, **config})

    return change


def text_config(text: str) -> Change:
    return lambda encoder: encoder["sentence"].update(config=text)


def setting(**values: Any) -> Change:
    return lambda encoder: encoder.update(values)


def section(name: str, **values: Any) -> Change:
    return lambda encoder: encoder[name].update(values)


def column(**values: Any) -> Change:
    return lambda encoder: encoder["table"]["columns"][0].update(values)


HOSTILE: dict[str, list[Change]] = {
    "vectors": [
        section("mlp", hidden=[4096] * 40),
        section("mlp", hidden=[4096] * 100_000),
        section("mlp", hidden=[1] * 100_000),
        *(setting(dimension=size) for size in (5_000_000, HUGE, 2**62, 10**400, -1, 0)),
        *(setting(shape=shape) for shape in ([HUGE * 10], [8, 8], [], [2**62])),
        setting(features=HUGE),
        setting(network="sentence"),
        setting(network="resnet18"),
        setting(network="resnet18", kind="images", shape=[3, 32, 32]),
        setting(network="hf-hub:attacker/beacon", kind="images", shape=[3, 32, 32]),
        setting(mlp=None),
        setting(kind="texts"),
    ],
    "table": [
        column(points=[]),
        column(points=[1.0]),
        column(points=[1.0, 2.0, 3.0]),
        column(origin=2**62),
        column(categories=[str(at) for at in range(100_000)]),
        section("table", scaling="quantile"),
        section("table", scaling="robust"),
        section("table", columns=[]),
    ],
    "small_resnet": [
        *(section("small_resnet", blocks=blocks) for blocks in ([20_000], [HUGE], [1] * 5000, [0] * 5000)),
        section("small_resnet", width=4096),
        section("small_resnet", pool=16),
        section("small_resnet", stem=1),
        *(setting(shape=shape) for shape in ([3, 10**6, 10**6], [HUGE, 8, 8], [1, 2**62, 1], [8], [2, 8, 8])),
    ],
    "timm": [
        *(
            setting(network=name)
            for name in (
                *("hf-hub:attacker/beacon", "hf_hub:attacker/beacon", "local-dir:{secret}"),
                *("resnet18.x:y", "test_resnet.hf-hub:a/b", "test_resnet/../../x", "test_resnet.nosuch", ""),
                *("vit_giant_patch14_224", "eva02_enormous_patch14_clip_224", "test_vit", "https://a.b/c"),
                *("timm/test_resnet", "test_resnet\0", "test_resnet\n", "mlp", "{secret}"),
            )
        ),
        setting(network="swin_tiny_patch4_window7_224", shape=[3, 4096, 4096]),
    ],
    "sentence": [
        sentence(model_type="timm_wrapper", architecture="hf-hub:attacker/beacon"),
        sentence(
            model_type="timm_wrapper", architecture="resnet18", model_args={"checkpoint_path": "{secret}"}
        ),
        sentence(
            model_type="encoder-decoder", encoder={"model_type": "bert"}, decoder={"model_type": "bert"}
        ),
        sentence(model_type="vision-text-dual-encoder"),
        sentence(attn_implementation="kernels-community/flash-attn2"),
        sentence(_attn_implementation="kernels-community/flash-attn2"),
        sentence(auto_map={"AutoModel": "attacker/code--model.Model"}),
        sentence(trust_remote_code=True),
        sentence(quantization_config={"quant_method": "bitsandbytes"}),
        sentence(_name_or_path="attacker/beacon"),
        sentence(is_decoder=True),
        *(sentence(hidden_act=name) for name in ("../x", {"a": 1}, None, "kernels-community/activation")),
        *(sentence(num_hidden_layers=count) for count in (HUGE, 1000, 0, -1, 1.5, "2", True)),
        *(sentence(hidden_size=size) for size in (HUGE, 2**24, 2**20)),
        *(sentence(vocab_size=size) for size in (HUGE, 2**24)),
        sentence(max_position_embeddings=2**24),
        sentence(torch_dtype="float4"),
        sentence(dtype="attacker.code"),
        sentence(pad_token_id=10**6),
        *(text_config(text) for text in ("{}", "[", "null", "1", "[" * 10**5, '{"model_type": 1}', "\0")),
        *(section("sentence", tokenizer=size) for size in (HUGE * 1000, 2**62, 1)),
        section("sentence", pooling="cls"),
        *(setting(shape=[size]) for size in (HUGE, 13)),
        setting(features=1),
    ],
    "onnx": [
        *(section("onnx", bytes=size) for size in (HUGE * 1000, 2**62, 1)),
        *(section("onnx", features=count) for count in (HUGE, 1)),
        section("onnx", output="{secret}"),
        section("onnx", batch=HUGE),
        section("onnx", layout="nhwc"),
        setting(onnx=None),
        setting(features=1),
        *(setting(shape=shape) for shape in ([3, 10**6, 10**6], [HUGE, 8, 8], [8], [2, 8, 8])),
    ],
    "two_tower": [
        *(setting(dimension=size) for size in (HUGE, 2**62)),
        *(setting(known=size) for size in (10**12, 2**62, 0)),
        setting(users=["u"] * 100_000),
        setting(titles=["a title"]),
        setting(user_features=["f"] * 100_000),
    ],
}
"""Changes of the settings of a model of each kind; none of the models is loaded afterwards."""

FORBIDDEN = (
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "pickle.find_class",
)


class Watch:
    """Notes what happens that loading a model has no business with."""

    def __init__(self) -> None:
        self.inside: Path | None = None
        self.seen: list[str] = []
        self.packages = {name.partition(".")[0] for name in sys.modules}
        self.installed = tuple(
            {str(Path(path).resolve()) for path in (*sys.path, sys.prefix, sys.base_prefix) if path}
        )
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.inside is None:
            return
        if event.startswith(FORBIDDEN):
            self.seen.append(f"{event} {arguments}"[:200])
        elif event == "import":
            if str(arguments[0]).partition(".")[0] not in self.packages:
                self.seen.append(f"import {arguments[0]}")
        elif event == "open" and isinstance(arguments[0], str | bytes):
            path, mode = str(Path(str(arguments[0])).resolve()), str(arguments[1] or "r")
            ours = Path(path).is_relative_to(self.inside)
            of_python = path.endswith((".py", ".pyc", ".so")) and path.startswith(self.installed)
            if not (ours or of_python) or set(mode) & set("wax+"):
                self.seen.append(f"open {path} {mode}")


def outcome(load: Callable[[Path], object], folder: Path) -> str:
    """How loading ends: `loaded`, a sentence, or the kind of a traceback."""
    from trine.errors import TrineError

    try:
        load(folder)
    except TrineError as error:
        return str(error)
    except BaseException as error:
        return f"TRACEBACK {type(error).__name__}: {error}"
    return "loaded"


def main(benign: Path, work: Path) -> None:
    from trine.encoders import load, load_two_tower

    secret = work / "secret"
    secret.mkdir()
    (secret / "weights.safetensors").write_bytes(b"x")
    loads: dict[str, Callable[[Path], object]] = dict.fromkeys(HOSTILE, load)
    loads["two_tower"] = load_two_tower
    for kind, load_kind in loads.items():
        load_kind(benign / kind)  # imports what it needs
    watch = Watch()

    def tell(kind: str, number: int, change: Change | None) -> None:
        folder = work / "model"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(benign / kind, folder)
        settings = json.loads((folder / "settings.json").read_text())
        if change is not None:
            change(settings["encoder"])
        text = json.dumps(settings).replace("{secret}", str(secret / "weights.safetensors"))
        (folder / "settings.json").write_text(text)
        began, watch.inside = time.monotonic(), folder.resolve()
        said = outcome(loads[kind], folder)
        watch.inside = None
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        line = {"kind": kind, "number": number, "said": said, "seen": watch.seen}
        print(json.dumps({**line, "seconds": time.monotonic() - began, "peak_mib": peak}))
        watch.seen = []

    for kind, changes in HOSTILE.items():
        for number, change in enumerate([None, *changes]):
            tell(kind, number, change)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
