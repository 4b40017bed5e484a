"""Rows are multiplied with a weight as ``torch.nn.functional.linear`` does it in float64, however many they are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from actors.engine.torch.projection import Projection


@pytest.fixture(params=[True, False], ids=["with oneDNN", "without"])
def has_onednn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: False)


def random_parts(num_rows: int, num_out: int, has_bias: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(num_rows)
    rows, weight, bias = (
        torch.randn(*shape, generator=generator) for shape in ((num_rows, 96), (num_out, 96), (num_out,))
    )
    return rows, weight, bias if has_bias else None


def expected_product(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return linear(rows.double(), weight.double(), None if bias is None else bias.double()).float()


@pytest.mark.usefixtures("has_onednn")
@pytest.mark.parametrize("num_rows", [1, 2, 3, 8, 31, 32, 33, 47, 48, 49, 200])
@pytest.mark.parametrize("num_out", [64, 3000], ids=["a small weight", "a large one"])
@pytest.mark.parametrize("has_bias", [False, True])
def test_products_and_sums(num_rows: int, num_out: int, has_bias: bool) -> None:
    rows, weight, bias = random_parts(num_rows, num_out, has_bias)
    expected = expected_product(rows, weight, bias)
    projection = Projection(weight.clone(), bias)
    product = projection(rows)
    torch.testing.assert_close(product, expected, rtol=1e-4, atol=1e-4)
    assert product.is_contiguous()
    target = torch.ones(num_rows, num_out)
    projection.add(rows, target)
    torch.testing.assert_close(target, 1 + expected, rtol=1e-4, atol=1e-4)


def test_a_weight_that_lies_the_other_way() -> None:
    rows, weight, _ = random_parts(8, 64, has_bias=False)
    projection = Projection(weight.t().contiguous().t())
    torch.testing.assert_close(projection(rows), expected_product(rows, weight, None), rtol=1e-4, atol=1e-4)
