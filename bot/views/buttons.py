"""What can be pressed under a video or where one failed. Each says what it costs, and carries it to the press."""

from __future__ import annotations

from bot.domain.prices import PriceTable
from bot.domain.remakes import Remake, remake, seed_of
from bot.domain.runs import Ending, Run, blocked_by_policy
from bot.facts import Usd, text
from bot.views import Action, Style


def under_result(
    run: Run, prices: PriceTable, *, shown_again: bool = False
) -> tuple[tuple[Action, ...], tuple[Action, ...]]:
    """The two rows under a posted video: what makes another one, and what is about this one.

    In direct messages nothing can be asked for, so the first row is empty there. Of one that is `shown_again` these are
    not the buttons by which the run's notice is known (see `bot.views.runs.marks`).
    """
    about = about_result(run, again=shown_again)
    if run.direct and not shown_again:
        return (), about
    same = () if seed_of(run) is None else (Action(verb="seed", about=run.run_id, label=text("button.same_seed")),)
    makes = (_paid(run, Remake.AGAIN, prices, "primary"), (_change(run),), same, _paid(run, Remake.FINAL, prices))
    return tuple(each for part in makes for each in part), about


def about_result(run: Run, *, again: bool = False) -> tuple[Action, ...]:
    """What is about a posted video itself; `again`: see `under_result`."""
    return receipt(run, again=again), Action(verb="delete", about=run.run_id, label=text("button.delete"))


def under_end(run: Run, prices: PriceTable) -> tuple[Action, ...]:
    """For its member, where a run ended without a video: what is worth trying, then the receipt."""
    actions: tuple[Action, ...] = ()
    if run.ending == Ending.EMPTY:
        actions = _paid(run, Remake.SILENT, prices, "primary")
    elif run.ending == Ending.CANCELLED or (run.ending == Ending.FAILED and not is_blocked(run)):
        actions = _paid(run, Remake.RETRY, prices, "primary")
    return (*actions, _change(run), receipt(run))


def is_blocked(run: Run) -> bool:
    """Whether the same wish would be refused again."""
    return blocked_by_policy(run.failure_code, run.failure_message)


def cancel(run: Run) -> Action:
    """For its member, while it was not ordered yet."""
    return Action(verb="cancel", about=run.run_id, label=text("button.cancel"))


def details(run: Run) -> Action:
    """Why there is no video, for those whom it concerns."""
    return Action(verb="details", about=f"{run.run_id}:{run.notice or 'result'}", label=text("button.details"))


def receipt(run: Run, *, again: bool = False) -> Action:
    """What a run cost, for those whom it concerns."""
    about = f"{run.run_id}:shown" if again else run.run_id
    return Action(verb="receipt", about=about, label=text("button.receipt"))


def _change(run: Run) -> Action:
    return Action(verb="change", about=run.run_id, label=text("button.change"))


def _paid(run: Run, how: Remake, prices: PriceTable, style: Style = "secondary") -> tuple[Action, ...]:
    request = remake(run, how)
    if request is None:
        return ()
    price_u = prices.quote(request)
    label = text(f"button.remake.{how}", price=Usd(price_u), resolution=request.resolution)
    return (Action(verb=how.value, about=f"{run.run_id}:{price_u}", label=label, style=style),)
