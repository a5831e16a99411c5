"""One frame: a token from the slow AR, a code per codebook from the fast one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from junetts._runtime.dual_ar import DualAR, Slow
from junetts._runtime.kv_cache import KvCache
from junetts._runtime.noise import Streams
from junetts._runtime.sampling import (
    REPETITION_AWARE,
    Ranking,
    SamplingParams,
    as_computed,
    choose_repetition_aware,
    draw,
    draw_from_many,
    penalised,
)
from junetts._runtime.sizes import ModelSizes

WINDOW = {"s1": 16, "s2": 10}  # frames in which a repetition counts
TOKEN_DRAW = 0
NO_FRAME = -1  # instead of a token's id, where the model's numbers are not finite


class FrameState:
    """What is kept between two frames besides the KV, one slot per utterance.

    All of it is in buffers that never move, one row per slot, so that a frame is the same sequence
    of kernels on the same addresses every time.

    Attributes:
        column: int64 ``[slot, 1 + codebook]``, the frame that was made last.
        position: int64 ``[slot]``, the column of the KV into which it goes.
        active: bool ``[slot]``; the others are carried along and do not change.
        frame: int64 ``[slot]``, how many frames were made.
        window: int64 ``[slot, frame, 1 + codebook]``, recent frames, as a ring; zeros at first.
    """

    def __init__(self, sizes: ModelSizes, *, n_slots: int, device: torch.device | str) -> None:
        def whole(*shape: int) -> Tensor:
            return torch.zeros(n_slots, *shape, dtype=torch.int64, device=device)

        def ones() -> Tensor:
            return torch.ones(n_slots, device=device)

        self.family = sizes.family
        self.n_slots = n_slots
        self.column = whole(1 + sizes.n_codebooks)
        self.window = whole(WINDOW[sizes.family], 1 + sizes.n_codebooks)
        self.position, self.frame, self.seed = whole(), whole(), whole()
        self.top_k = whole() + 1
        self.temperature, self.top_p, self.penalty = ones(), ones(), ones()
        self.active = torch.zeros(n_slots, dtype=torch.bool, device=device)
        self._active: list[int] = []

    @torch.inference_mode()
    def park(self, slot: int, *, position: int) -> None:
        """Say how many columns of the slot's KV have been written."""
        self.position[slot] = position

    @torch.inference_mode()
    def begin(self, slot: int, params: SamplingParams) -> None:
        """Forget the slot's last utterance; the next one is sampled like this."""
        exact = as_computed(params, self.family)
        self.column[slot] = self.window[slot] = 0
        self.frame[slot] = 0
        self.seed[slot] = exact.seed
        self.temperature[slot] = exact.temperature
        self.top_p[slot] = exact.top_p
        self.top_k[slot] = exact.top_k
        self.penalty[slot] = exact.repetition_penalty

    @torch.inference_mode()
    def activate(self, slots: Sequence[int]) -> None:
        """Make frames for exactly these slots."""
        wanted = sorted(slots)
        if wanted != self._active:
            mask = [slot in wanted for slot in range(self.n_slots)]
            self.active.copy_(torch.tensor(mask))
            self._active = wanted

    def clear(self, slot: int) -> None:
        """Make no more frames for a slot; its columns may be overwritten."""
        self.activate([other for other in self._active if other != slot])
        self.park(slot, position=0)


@torch.inference_mode()
def first_frame(model: DualAR, slow: Slow, state: FrameState, *, slot: int) -> Tensor:
    """Make the frame ``[1 + codebook]`` that follows a prompt, from what its prefill returned.

    It knows of no repetition, and the others will not know of it. It is all `NO_FRAME` if the
    model's numbers are not finite.
    """
    rows = slice(slot, slot + 1)
    sampler = _Sampler.of(state, rows)
    columns, is_finite = _frame(model, slow, sampler, window=None)
    state.column[slot] = columns[0]
    state.frame[slot] = 1
    return _or_none(columns, is_finite)[0]


@torch.inference_mode()
def next_frame(model: DualAR, cache: KvCache, state: FrameState, *, n: int, span: int) -> Tensor:
    """Make the next frame of the first ``n`` slots: ``[n, 1 + codebook]``.

    Rows of slots that are not active mean nothing, and their state stays as it is. A row is all
    `NO_FRAME` if the model's numbers are not finite. Nothing here waits for the device or depends
    on what it finds.

    Args:
        model: of the cache's and the state's sizes.
        cache: the last frames' keys and values are added to it.
        state: moves on by one frame.
        n: slots from here on cost nothing.
        span: columns of the cache to look at; more than every active slot's position.
    """
    rows, active = slice(0, n), state.active[:n]
    position = state.position[:n].where(active, cache.spare_column)
    slow = model.decode(state.column[:n], position, cache, span=span)
    sampler = _Sampler.of(state, rows)
    columns, is_finite = _frame(model, slow, sampler, window=_Window.of(state, rows))
    _move_on(state, columns, active)
    return _or_none(columns, is_finite)


def _or_none(columns: Tensor, is_finite: Tensor) -> Tensor:
    """What is told; the state keeps ids that can be looked up in any case."""
    return torch.where(is_finite[:, None], columns, NO_FRAME)


def _move_on(state: FrameState, column: Tensor, active: Tensor) -> None:
    n, n_kept = column.shape[0], state.window.shape[1]
    newest = (state.frame[:n] - 1) % n_kept  # the frame made from the prompt is not entered
    is_newest = torch.arange(n_kept, device=column.device) == newest[:, None]
    is_new = (is_newest & active[:, None])[..., None]  # [n, frame, 1]
    state.window[:n].copy_(torch.where(is_new, column[:, None], state.window[:n]))
    state.column[:n].copy_(torch.where(active[:, None], column, state.column[:n]))
    state.position[:n] += active
    state.frame[:n] += active


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Window:
    """What was said lately: ids of tokens ``[n, any]``, codes ``[n, frame, 1 + codebook]``."""

    tokens: Tensor
    columns: Tensor

    @classmethod
    def of(cls, state: FrameState, rows: slice) -> _Window:
        columns = state.window[rows]
        if state.family == "s2":
            return cls(tokens=columns[:, :, 0], columns=columns)
        # S1 looks at all rows of the oldest frame where it should look at the first row of all: a
        # mistake that its published behaviour includes. Before the ring is full the oldest is at 0.
        n_entered = state.frame[rows] - 1
        oldest = (n_entered % columns.shape[1]).where(n_entered >= columns.shape[1], 0)
        place = oldest[:, None, None].expand(-1, 1, columns.shape[2])
        return cls(tokens=columns.gather(1, place)[:, 0], columns=columns)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sampler:
    """The sampling parameters of some slots, ``[n]`` each, and their noise for one frame.

    The streams of noise are for the token, each residual codebook, and the token's second chance.
    """

    top_p: Tensor
    top_k: Tensor
    temperature: Tensor
    penalty: Tensor
    streams: Streams

    @classmethod
    def of(cls, state: FrameState, rows: slice) -> _Sampler:
        n_draws = state.column.shape[1]
        return cls(
            top_p=state.top_p[rows],
            top_k=state.top_k[rows],
            temperature=state.temperature[rows],
            penalty=state.penalty[rows],
            streams=Streams.of(state.seed[rows], state.frame[rows], n_draws=n_draws),
        )

    def token(self, logits: Tensor) -> Tensor:
        """Draw from logits ``[n, m]``: int64 ``[n]``."""
        nucleus = Ranking.of(logits).nucleus(self.top_p, self.top_k)
        return draw_from_many(logits, nucleus, self.temperature, self.streams[:, TOKEN_DRAW])

    def token_and_wider(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Draw a token, and another one as S2 does where it repeats itself."""
        ranking = Ranking.of(logits)
        usual = ranking.nucleus(self.top_p, self.top_k)
        wider = ranking.nucleus(torch.full_like(self.top_p, REPETITION_AWARE.top_p), self.top_k)
        warmth = torch.full_like(self.temperature, REPETITION_AWARE.temperature)
        return (
            draw_from_many(logits, usual, self.temperature, self.streams[:, TOKEN_DRAW]),
            draw_from_many(logits, wider, warmth, self.streams[:, -1]),
        )

    def code(self, logits: Tensor, exponential: Tensor) -> Tensor:
        """Draw from logits ``[n, m]`` with that noise: int64 ``[n]``."""
        nucleus = Ranking.of(logits).nucleus(self.top_p, self.top_k)
        return draw(logits, nucleus, self.temperature, exponential)


def _frame(
    model: DualAR, slow: Slow, sampler: _Sampler, window: _Window | None
) -> tuple[Tensor, Tensor]:
    """Make frames ``[n, 1 + codebook]``, and say whether they come of finite numbers ``[n]``."""
    logits = model.main_logits(slow)
    is_finite = _is_finite(logits)
    token = _token(model, logits.nan_to_num(), sampler, window)
    code = model.semantic_codes(token)
    rows = [token, code]
    memory = model.fast_memory(token.shape[0])
    x = torch.stack([model.fast_input(slow), model.fast_embeddings(code)], dim=1)
    start = 0
    for exponential in _residual_noise(model, sampler).unbind(1):
        logits = model.fast_logits(
            model.fast(x, memory, start=start), n_codes=model.n_residual_codes
        )
        if window is not None and model.sizes.family == "s1":
            logits = penalised(logits, window.columns[:, :, len(rows)], sampler.penalty)
        code = sampler.code(logits, exponential)
        start += x.shape[1]  # the first pass takes two positions at once
        x = model.fast_embeddings(code)[:, None]
        rows.append(code)
    # What went wrong for any codebook went wrong for the last one, too, which sees them all.
    return torch.stack(rows, dim=1), is_finite & _is_finite(logits)


def _is_finite(logits: Tensor) -> Tensor:
    """Whether all logits ``[n, m]`` are finite: ``[n]``; a sum is cheap, and finite if they are."""
    return logits.sum(-1).isfinite()


def _token(model: DualAR, logits: Tensor, sampler: _Sampler, window: _Window | None) -> Tensor:
    """Choose token ids ``[n]`` from the logits of those that may be chosen."""
    if window is None:
        return model.main_tokens(sampler.token(logits))
    if model.sizes.family == "s1":
        return sampler.token(penalised(logits, window.tokens, sampler.penalty))
    usual, wider = map(model.main_tokens, sampler.token_and_wider(logits))
    return choose_repetition_aware(
        usual, wider, window.tokens, is_semantic=model.is_semantic(usual)
    )


def _residual_noise(model: DualAR, sampler: _Sampler) -> Tensor:
    """All of a frame's noise for residual codes, in one go: ``[n, codebook - 1, code]``."""
    device = sampler.top_p.device
    places = torch.arange(model.n_residual_codes, dtype=torch.int32, device=device)
    return sampler.streams[:, 1 : model.sizes.n_codebooks].exponential(places)
