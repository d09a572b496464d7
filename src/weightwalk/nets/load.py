"""From what a user typed to a network."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from weightwalk.errors import UsageError
from weightwalk.nets.gallery import GALLERY, NAMES
from weightwalk.nets.net import Net
from weightwalk.nets.training import Progress, gallery_net

PICKLES = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".joblib")

ACCEPTED = (
    f"a gallery name ({', '.join(NAMES)}), a directory with a transformers checkpoint, a hub name such as "
    "openai-community/gpt2, an exported program (.pt2), an .onnx or .nnet file, or package.module:object"
)


def load_net(spec: str, *, fresh: bool = False, seed: int | None = None, progress: Progress | None = None) -> Net:
    """The network that `spec` names, ready to be walked.

    Args:
        spec: A gallery name; a directory holding a ``transformers`` checkpoint; a hub name ``owner/name``; a
            ``.pt2``, ``.onnx`` or ``.nnet`` file; or ``package.module:object``, which imports that module and is the
            only form that runs foreign code.
        fresh: Train a gallery net anew even if it is remembered.
        seed: For gallery nets, train from this seed alone; for ``package.module:object``, the random state in which
            it is made (0 if None).
        progress: Told of every epoch of a training.

    Raises:
        UsageError: Nothing by that name, or nothing that can be loaded without running foreign code.

    Example:
        >>> import torch, weightwalk as ww
        >>> net = ww.load_net("gpt")
        >>> given = net.inputs("The cat")
        >>> with torch.no_grad():
        ...     walk = ww.walk(net.module, *given.args, axis_labels=given.labels, **given.kwargs)
        >>> walk["logits"].shape
        (1, 2, 338)
    """
    if spec in NAMES:
        return gallery_net(GALLERY[NAMES[spec]], fresh=fresh, seed=seed, progress=progress)
    if not spec.strip():
        raise UsageError(_unknown(spec, Path(spec)))
    path = Path(spec).expanduser()
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise UsageError(
            f"{spec!r} is a pickle, and unpickling runs whatever code its author put in; Weightwalk never does. "
            "Save the weights as safetensors (safetensors.torch.save_file(model.state_dict(), ...)) and name the model "
            "as package.module:object, or save the whole with save_pretrained or torch.export.save (.pt2)."
        )
    if suffix == ".safetensors":
        raise UsageError(
            f"{spec!r} holds weights but not the network that they belong to: give the directory with its config.json, "
            "or package.module:object that builds the network and loads them."
        )
    if suffix == ".pt2":
        from weightwalk.nets.exported import exported_net

        return exported_net(path)
    if suffix == ".onnx":
        from weightwalk.nets.onnx_file import onnx_net

        return onnx_net(path)
    if suffix == ".nnet":
        from weightwalk.nets.nnet import nnet_net

        return nnet_net(path)
    if path.is_dir():
        from weightwalk.nets.checkpoint import checkpoint_net

        return checkpoint_net(path)
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", spec):
        from weightwalk.nets.named import named_net

        return named_net(spec, seed=seed or 0)
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", spec) and not path.exists():
        from weightwalk.nets.checkpoint import checkpoint_net

        return checkpoint_net(spec)
    raise UsageError(_unknown(spec, path))


def _unknown(spec: str, path: Path) -> str:
    if path.suffix == ".py":
        return f"{spec!r} is a source file: name an object in it, as {path.stem}:object (from its directory)."
    if path.is_file():
        return f"{spec!r} is a file of a kind that is no network; expected {ACCEPTED}."
    near = difflib.get_close_matches(spec.lower(), NAMES, n=2, cutoff=0.5)
    hint = f": did you mean {' or '.join(near)}? A net" if near else "; a net"
    return f"There is no net {spec!r}{hint} can be {ACCEPTED}."
