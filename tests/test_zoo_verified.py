"""Every net of the zoo is verified and accounted for.

docs/coverage.md shows the same facts as a table; `make coverage` writes it.
"""

from __future__ import annotations

import math

import pytest
from zoo import ZOO, Case
from zoo.measure import measure, record

CASES = list(ZOO.values())

# Families whose training step the NumPy referee must know whole.
NUMPY_TRAINS = ["linear", "mlp_relu", "cnn_eval", "gpt2", "llama", "bert_classifier", "vit"]

# Ops that no proven bound covers: the Fourier transform's depends on the algorithm, the others are rare.
NO_BOUND = {
    "aten._fft_c2c.default",
    "aten._fft_c2r.default",
    "aten._fft_r2c.default",
    "aten._nested_tensor_from_mask.default",
    "aten._nested_tensor_from_mask_left_aligned.default",
    "aten.adaptive_max_pool2d.default",
    "aten.median.default",
    "aten.replication_pad2d_backward.default",
    "aten.upsample_bilinear2d.default",
    "aten.upsample_bilinear2d_backward.default",
}

NESTED = "encoder_padding_mask"  # nested tensors have no strides: their two steps are recorded without numbers


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_step_is_verified_and_the_account_closes(case: Case) -> None:
    measured = measure(case, drift=False)

    report = measured.report
    assert report.ok, str(report)
    assert set(report.unproven) <= NO_BOUND
    assert report.counts["not kept"] == (2 if case.name == NESTED else 0)

    account = measured.account
    assert math.fsum([*(row.value for row in account.rows), account.remainder, *account.tail]) == account.number
    assert abs(account.remainder) <= account.bound
    if measured.account64 is not None:
        assert measured.account64.relative_residual < 1e-12
        assert all(residual.relative < 1e-12 for residual in measured.account64.residuals)


@pytest.mark.parametrize("name", NUMPY_TRAINS)
def test_numpy_alone_verifies_a_training_step(name: str) -> None:
    walk = record(ZOO[name], train=True)
    assert {step.phase for step in walk.steps} == {"forward", "loss", "backward", "update"}
    report = walk.verify(referee="numpy", drift=False)
    assert report.ok, str(report)
    assert not report.unproven
    assert report.proven + report.counts["drawn"] == len(walk.steps)
