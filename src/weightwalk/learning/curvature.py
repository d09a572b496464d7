"""Gradient and second derivatives of a net's mean loss at its present weights, computed on copies in chunks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from weightwalk.errors import UsageError
from weightwalk.learning.losses import Loss, loss_of, tensor_of

DOUBLE_UP_TO = 1_000_000
"""Weights up to which all is computed in float64."""
SMALL = 20_000
"""Weights below which a second thread costs more than it gives."""
MEMORY = 256 * 2**20
"""Bytes that the intermediate results of one chunk may take, about."""
GROWTH = 6
"""How many times the results that a forward pass keeps are kept by two backward passes, about."""


class Curvature:
    """The loss of a net around its present weights: value, gradient, and products with the Hessian.

    Attributes:
        n: Number of weights that can be trained.
        loss: Mean loss over the data.
        gradient: Shape (n,), float64.
        double: Whether it is computed in float64.
        kinked: Whether the loss is smooth in pieces only.
        products: Products taken so far.
    """

    def __init__(self, module: nn.Module, inputs: Tensor, targets: Tensor, loss: str | Loss) -> None:
        self.module, self.criterion = module, loss_of(loss)
        if inputs.dim() == 0 or targets.dim() == 0 or len(inputs) != len(targets) or len(inputs) == 0:
            raise UsageError(
                "The loss needs as many inputs as targets, one row each and at least one; "
                f"got shapes {tuple(inputs.shape)} and {tuple(targets.shape)}."
            )
        trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        if not trained:
            raise UsageError("The net has no parameter that can be trained (none requires a gradient).")
        for name, tensor in module.state_dict().items():
            refuse_bad(name, tensor)
        self.n = sum(p.numel() for p in trained.values())
        self.products = 0
        self._rows = len(inputs)
        self._settle(trained, inputs, targets)

    def _settle(self, trained: dict[str, nn.Parameter], inputs: Tensor, targets: Tensor) -> None:
        """Copies of weights and data, in float64 if the net can be run in it."""
        own = max((p.dtype for p in trained.values()), key=lambda d: torch.finfo(d).bits)
        precise = torch.float64 if self.n <= DOUBLE_UP_TO else torch.promote_types(own, torch.float32)
        for dtype in dict.fromkeys((precise, own)):
            self.double = dtype == torch.float64
            with torch.inference_mode(False):
                self._weights = {
                    name: p.detach().to(dtype, copy=True).requires_grad_(True) for name, p in trained.items()
                }
                frozen = [*self.module.named_parameters(), *self.module.named_buffers()]
                self._frozen = {name: _cast(t.detach(), dtype) for name, t in frozen if name not in trained}
                self._data = _cast(inputs, dtype), _cast(targets, dtype)
            try:
                self._sizes()
                self.loss, self.gradient = self._slope()
            except UsageError:
                raise
            except RuntimeError as error:
                # A net that makes float32 constants in its forward cannot be run in float64; its own dtype it can.
                if dtype == own:
                    raise UsageError(
                        f"The loss could not be differentiated: {str(error).strip().splitlines()[0]}."
                    ) from error
                continue
            return

    @property
    def dtype(self) -> torch.dtype:
        """In which it is computed."""
        return next(iter(self._weights.values())).dtype

    @property
    def gradient_norm(self) -> float:
        """Length of the gradient."""
        return float(np.linalg.norm(self.gradient))

    def remarks(self, lopsided: bool) -> list[str]:
        """What a reader of these derivatives must know."""
        made = []
        if self.kinked:
            made.append("Kinks (ReLU and the like): this is the Hessian of the smooth piece that the weights lie in.")
        if not self.double:
            made.append("Computed in float32, so that small eigenvalues are uncertain.")
        if lopsided:
            made.append("The second derivatives are not symmetric: the net cuts its gradient somewhere (detach).")
        return made

    def product(self, vector: np.ndarray) -> np.ndarray:
        """``H v``, float64."""
        if np.shape(vector) != (self.n,):
            raise UsageError(f"The vector has shape {np.shape(vector)}; the net has {self.n} weights: ({self.n},).")
        first = next(iter(self._weights.values()))
        self.products += 1
        with differentiating(self.module):
            v = torch.tensor(np.asarray(vector, dtype=np.float64)).to(first.device, first.dtype)
            total = torch.zeros_like(v)
            for share, slopes in self._graphs():
                total += share * _pulled(slopes, list(self._weights.values()), v)
        return total.double().cpu().numpy()

    def matrix(self, progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        """``H`` itself, shape (n, n), float64."""
        weights = list(self._weights.values())
        like = {"dtype": weights[0].dtype, "device": weights[0].device}
        many = max(1, min(256, MEMORY // max(GROWTH * self._each * min(self._chunk, self._rows), 8 * self.n)))
        parts = -(-self._rows // self._chunk)
        with differentiating(self.module):
            whole, eye = torch.zeros(self.n, self.n, **like), torch.eye(self.n, **like)
            for part, (share, slopes) in enumerate(self._graphs()):
                for at in range(0, self.n, many):
                    block = eye[at : at + many]
                    whole[at : at + many] += share * _pulled_many(slopes, weights, block)
                    if progress is not None:
                        progress(part * self.n + at + len(block), parts * self.n)
        self.products += self.n
        return whole.double().cpu().numpy()

    def loss_at(self, offset: np.ndarray) -> float:
        """Mean loss with the weights moved by `offset`, shape (n,)."""
        moved = torch.tensor(offset).split([w.numel() for w in self._weights.values()])
        total = 0.0
        with differentiating(self.module), torch.no_grad():
            there = {
                name: w.detach() + d.to(w.device, w.dtype).view_as(w)
                for (name, w), d in zip(self._weights.items(), moved, strict=True)
            }
            for at in range(0, self._rows, self._chunk):
                x, y = (t[at : at + self._chunk] for t in self._data)
                out = functional_call(self.module, {**there, **self._frozen}, (x,))
                total += len(x) / self._rows * float(self.criterion(tensor_of(out), y))
        return total

    def outputs(self) -> Tensor:
        """What the net answers to all rows."""
        made = []
        with differentiating(self.module), torch.no_grad():
            for at in range(0, self._rows, self._chunk):
                given = {**self._weights, **self._frozen}
                out = functional_call(self.module, given, (self._data[0][at : at + self._chunk],))
                made.append(tensor_of(out).detach())
        return torch.cat(made)

    def pushed(self, directions: np.ndarray, centred: bool = False) -> np.ndarray | None:
        """Derivatives of all outputs along the columns of `directions`, shape (rows x outputs, directions).

        Args:
            directions: Shape (n, k).
            centred: Take from the outputs of a row their mean, which a softmax does not see.

        None where torch cannot differentiate some operation of the net twice.

        ``J v`` is had from backward passes alone: ``J'u`` is linear in u, and its derivative along v with respect to u
        is ``J v`` (Townsend 2017).
        """
        weights = list(self._weights.values())
        parts = []
        try:
            with differentiating(self.module):
                for at in range(0, self._rows, self._chunk):
                    given = {**self._weights, **self._frozen}
                    out = tensor_of(functional_call(self.module, given, (self._data[0][at : at + self._chunk],)))
                    out = out - out.mean(dim=-1, keepdim=True) if centred else out
                    other = torch.zeros_like(out, requires_grad=True)
                    pulled = torch.autograd.grad(out, weights, other, create_graph=True, materialize_grads=True)
                    parts.append([_pulled(list(pulled), [other], torch.tensor(v)) for v in directions.T.copy()])
        except RuntimeError:
            return None
        columns = [torch.cat(column) for column in zip(*parts, strict=True)]
        return torch.stack(columns, dim=1).double().cpu().numpy()

    def slope_at(self, offset: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean loss and its gradient with the weights moved by `offset`, both float64."""
        own = self._weights
        moved = torch.tensor(offset).split([w.numel() for w in own.values()])
        with torch.inference_mode(False):
            self._weights = {
                name: (w.detach() + d.to(w.device, w.dtype).view_as(w)).requires_grad_(True)
                for (name, w), d in zip(own.items(), moved, strict=True)
            }
        try:
            return self._slope()
        finally:
            self._weights = own

    def weights(self) -> np.ndarray:
        """The weights themselves, shape (n,), float64."""
        with torch.no_grad():
            return torch.cat([w.reshape(-1).double().cpu() for w in self._weights.values()]).numpy()

    def places(self) -> dict[str, np.ndarray]:
        """Where each number of each parameter stands in the flat vector: its index, in the parameter's shape."""
        made, at = {}, 0
        for name, w in self._weights.items():
            made[name] = np.arange(at, at + w.numel()).reshape(tuple(w.shape))
            at += w.numel()
        return made

    # How ------------------------------------------------------------------------------------------------------------

    def _forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        out = functional_call(self.module, {**self._weights, **self._frozen}, (inputs,))
        return self.criterion(tensor_of(out), targets)

    def _sizes(self) -> None:
        """Rows per chunk, from what one row makes autograd keep."""
        kept = 0
        ours = {w.untyped_storage().data_ptr() for w in (*self._weights.values(), *self._frozen.values())}

        def count(tensor: Tensor) -> Tensor:
            nonlocal kept
            if tensor.untyped_storage().data_ptr() not in ours:
                kept += tensor.numel() * tensor.element_size()
            return tensor

        few = min(2, self._rows)
        with differentiating(self.module), torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
            loss = self._forward(*(t[:few] for t in self._data))
            self.kinked = _has_kinks(loss)
        self._each = max(kept // few, 1)
        self._chunk = int(max(1, min(self._rows, MEMORY // (GROWTH * self._each))))
        self._kept: tuple[float, list[Tensor]] | None = None

    def _graphs(self) -> Iterator[tuple[float, list[Tensor]]]:
        """For each chunk its share of the rows and its gradient as a graph that can be differentiated again."""
        if self._kept is not None:
            yield self._kept
            return
        inputs, targets = self._data
        weights = list(self._weights.values())
        for at in range(0, self._rows, self._chunk):
            x, y = inputs[at : at + self._chunk], targets[at : at + self._chunk]
            slopes = torch.autograd.grad(self._forward(x, y), weights, create_graph=True, materialize_grads=True)
            share = len(x) / self._rows, list(slopes)
            if len(x) == self._rows:
                self._kept = share  # one chunk: the same graph serves every product
            yield share

    def _slope(self) -> tuple[float, np.ndarray]:
        inputs, targets = self._data
        weights = list(self._weights.values())
        value, total = 0.0, torch.zeros(self.n, dtype=torch.float64)
        for at in range(0, self._rows, self._chunk):
            x, y = inputs[at : at + self._chunk], targets[at : at + self._chunk]
            with differentiating(self.module):
                loss = self._forward(x, y)
                if loss.numel() != 1:
                    raise UsageError(
                        f"The loss must be one number; its shape is {tuple(loss.shape)}: take its mean or its sum."
                    )
                if not loss.requires_grad:
                    raise UsageError("The loss does not depend on the weights in a way that can be differentiated.")
                slopes = torch.autograd.grad(loss, weights, materialize_grads=True)
            share = len(x) / self._rows
            value += share * float(loss.detach())
            total += share * torch.cat([s.detach().reshape(-1).double().cpu() for s in slopes])
        gradient = total.numpy()
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            what = f"loss is {value}" if not np.isfinite(value) else "gradient is not finite"
            raise UsageError(f"The {what} at these weights, so there is no Hessian to speak of: look at the data.")
        return value, gradient


KINKS = ("Relu", "PreluKernel", "RreluWithNoise", "Hardtanh", "Hardsigmoid", "Hardswish", "Abs", "Clamp", "MaxPool")
"""Beginnings of the names of autograd's nodes whose functions have a kink."""


def _has_kinks(loss: Tensor) -> bool:
    """Whether any operation on the way to `loss` has a kink."""
    seen: set[Any] = set()
    waiting: list[Any] = [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if node.name().startswith((*KINKS, "LeakyRelu", "Threshold", "AdaptiveMaxPool")):
            return True
        seen.add(node)
        waiting += [before for before, _ in node.next_functions]
    return False


def refuse_bad(name: str, tensor: Tensor) -> None:
    """Say where a tensor holds a number that is not finite.

    Raises:
        UsageError: It does.
    """
    if not tensor.is_floating_point():
        return
    bad = (~torch.isfinite(tensor)).nonzero()
    if len(bad):
        at = ", ".join(str(int(i)) for i in bad[0])
        place = f"{name}[{at}]" if at else name
        raise UsageError(
            f"{place} is {float(tensor[tuple(bad[0])])} ({len(bad)} of {tensor.numel()} numbers of {name} are not "
            "finite): the training went to pieces before it ended; take an earlier checkpoint, or a smaller rate."
        )


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A floating tensor in `dtype`, and no tensor of inference mode, which autograd cannot keep."""
    tensor = tensor.detach()
    if tensor.is_floating_point():
        return tensor.to(dtype, copy=True)
    return tensor.clone() if tensor.is_inference() else tensor


def _pulled(slopes: list[Tensor], weights: list[Tensor], vector: Tensor) -> Tensor:
    """``d(slopes · vector) / d weights``, flat."""
    parts = vector.to(weights[0].device, weights[0].dtype).split([s.numel() for s in slopes])
    pairs = [(s, p.view_as(s)) for s, p in zip(slopes, parts, strict=True) if s.requires_grad]
    if not pairs:
        return torch.cat([torch.zeros_like(w).reshape(-1) for w in weights])
    found = torch.autograd.grad(
        [s for s, _ in pairs], weights, [p for _, p in pairs], retain_graph=True, materialize_grads=True
    )
    return torch.cat([f.reshape(-1) for f in found])


def _pulled_many(slopes: list[Tensor], weights: list[Tensor], vectors: Tensor) -> Tensor:
    """The same for every row of `vectors`, at once where torch can."""
    parts = vectors.split([w.numel() for w in weights], dim=1)
    pairs = [(s, p.reshape(-1, *s.shape)) for s, p in zip(slopes, parts, strict=True) if s.requires_grad]
    if not pairs:
        return torch.zeros_like(vectors)
    settings: dict[str, Any] = {"retain_graph": True, "materialize_grads": True, "is_grads_batched": True}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of operators without a batching rule, which are looped over
            found = torch.autograd.grad([s for s, _ in pairs], weights, [p for _, p in pairs], **settings)
    except RuntimeError:
        return torch.stack([_pulled(slopes, weights, v) for v in vectors])
    # a weight that no slope depends on gets one tensor of zeros, not one for each vector
    rows = [f if f.dim() > w.dim() else f.expand(len(vectors), *w.shape) for f, w in zip(found, weights, strict=True)]
    return torch.cat([f.reshape(len(vectors), -1) for f in rows], dim=1)


@contextmanager
def differentiating(module: nn.Module) -> Iterator[None]:
    """Gradients on, eval mode, and attention in the form that can be differentiated twice; then all as it was."""
    modes = [(m, m.training) for m in module.modules() if m.training]
    for m, _ in modes:
        m.training = False
    try:
        with torch.inference_mode(False), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        for m, mode in modes:
            m.training = mode
