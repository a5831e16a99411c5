"""Is it a prompt? Asked of what callers give, before anything is computed."""

from __future__ import annotations

import torch
from torch import Tensor

from junetts._errors import InvalidRequestError
from junetts._runtime.sizes import ModelSizes


def checked_prompt(prompt: Tensor, sizes: ModelSizes, *, context: int, n_frames: int) -> Tensor:
    """The prompt int64 ``[1 + codebook, column]``, if room for so many frames is left.

    Raises:
        InvalidRequestError: for another shape or type, ids out of range, or too many columns.
    """
    columns = torch.as_tensor(prompt)
    n_rows = 1 + sizes.n_codebooks
    if columns.ndim != 2 or columns.shape[0] != n_rows or columns.shape[1] == 0:
        raise _refused(f"have the shape [{n_rows}, columns], not {list(columns.shape)}")
    if columns.is_floating_point() or columns.is_complex():
        raise _refused(f"hold whole numbers, not {columns.dtype}")
    if columns.shape[1] + n_frames > context:
        raise InvalidRequestError(
            f"prompt has {columns.shape[1]} columns; the context has {context}", field="prompt"
        )
    _check_ids(columns, sizes)
    return columns.to(torch.int64)


def _check_ids(columns: Tensor, sizes: ModelSizes) -> None:
    for row, bound in ((columns[0], sizes.vocab_size), (columns[1:], sizes.codebook_size)):
        if int(row.min()) < 0 or int(row.max()) >= bound:
            raise _refused(
                f"hold ids below {sizes.vocab_size} and codes below {sizes.codebook_size}, "
                "none of them negative"
            )


def _refused(must: str) -> InvalidRequestError:
    return InvalidRequestError(f"prompt must {must}", field="prompt")
