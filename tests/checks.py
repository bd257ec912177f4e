"""What must hold in a simulated world: of the money whenever one looks, and of every run in the end."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from bot.domain.runs import Delivery, Ending, Notice, RunState
from storage import check_books
from tests.outside import MEMBERS

if TYPE_CHECKING:
    from tests.world import World


def check_money(world: World) -> None:
    """What holds whenever one looks."""
    for line in check_books(world.url):
        world.breach(f"the books: {line}")
    billed = Counter(job.run.run_id for job in world.jobs.values())
    for run_id, times in billed.items():
        if times > 1:
            world.breach(f"run {run_id} was bought {times} times")
    for row in world.rows():
        jobs = [job for job in world.jobs.values() if job.run.run_id == row["run_id"]]
        booked_u = row["charged_u"] if row["ended_at"] is not None else row["price_u"]
        known = [job for job in jobs if row["cost_u"] is not None or job.cost_u is None]
        due_u = sum(min(job.billed_u, row["price_u"]) for job in known)
        if due_u > booked_u:
            world.breach(f"run {row['run_id']} was billed {due_u} and {booked_u} is booked")


def check_runs(world: World) -> None:
    """What holds in the end."""
    for wish, runs in world.runs_of.items():
        if len(runs) > 1:
            world.breach(f"{wish} made the runs {', '.join(sorted(runs))}")
    for row in world.rows():
        run_id, state = row["run_id"], RunState(row["state"])
        job = next((each for each in world.jobs.values() if each.run.run_id == run_id), None)
        if world.goes_on_for_ever(row):
            pass  # overdue, told as that, and its money is held until an admin says otherwise
        elif row["ended_at"] is None:
            shown = job is not None and job.listed_at <= world.now
            if state != RunState.UNKNOWN or shown or (job is None and world.look_up_is_proven()):
                world.breach(f"run {run_id} is left {state}")
        elif job is None:
            if row["ending"] not in (Ending.FAILED, Ending.CANCELLED) or row["charged_u"] != 0:
                world.breach(f"run {run_id} was never bought, and ended {row['ending']} at {row['charged_u']}")
        else:
            if row["ending"] != job.ending:
                world.breach(f"run {run_id} ended {job.ending} at Runflow, and {row['ending']} here")
            if row["charged_u"] != job.billed_u:
                world.breach(f"run {run_id} was billed {job.billed_u} and is charged {row['charged_u']}")
        _check_messages(world, row)
        if world.posts_of[run_id] > 3:
            world.breach(f"run {run_id} had {world.posts_of[run_id]} POSTs without a clear answer")


def check_cancelled(world: World) -> None:
    """Who was told that a run is cancelled was told the truth, and nobody else is told anything."""
    bought = {job.run.run_id for job in world.jobs.values()}
    for row in world.rows():
        run_id = row["run_id"]
        if run_id in world.cancelled and (row["ending"] != Ending.CANCELLED or run_id in bought):
            world.breach(f"run {run_id} was called cancelled, and ended {row['ending']}")
        posted = [message for message in world.messages if message.run_id == run_id]
        if _is_withdrawn(row) and posted:
            world.breach(f"run {run_id} was cancelled by its member, and {posted} was posted")


def _is_withdrawn(row: dict[str, Any]) -> bool:
    return bool(row["ending"] == Ending.CANCELLED and row["provider_id"] is None)


def _check_messages(world: World, row: dict[str, Any]) -> None:
    run_id, delivery = row["run_id"], Delivery(row["delivery"])
    told = [message for message in world.messages if message.run_id == run_id]
    results = [message for message in told if message.notice == Notice.RESULT]
    standing = [message for message in results if world.gone_at[message.place] > world.now]
    for notice, times in Counter((message.notice, message.place in MEMBERS) for message in told).items():
        if times > 1:
            world.breach(f"run {run_id}: {notice[0]} was posted {times} times")
    if len(standing) > 1:
        world.breach(f"run {run_id}: its result stands in {[message.place for message in standing]}")
    left_out = row["ended_at"] and delivery == Delivery.NONE and not _is_withdrawn(row)
    if delivery in (Delivery.PENDING, Delivery.SENDING) or left_out:
        world.breach(f"run {run_id} is not delivered: {delivery}")
    if row["ended_at"] is None:
        return
    if delivery == Delivery.DELIVERED and not results:
        world.breach(f"run {run_id} is called delivered and was not posted")
    if delivery == Delivery.UNDELIVERABLE and not _had_no_place(world, row):
        world.breach(f"run {run_id} was given up, although it could be posted")
    shows = Ending(row["ending"]) in (Ending.VIDEO, Ending.PARTIAL)
    for message in results:
        if bool(message.clip) != shows:
            world.breach(f"run {run_id} ended {row['ending']} and was posted with {message.clip!r}")


def _had_no_place(world: World, row: dict[str, Any]) -> bool:
    troubled = [world.gone_at[row["channel"]] < 1e12, world.closed[row["channel"]][0] < 1e12]
    member = row["member"]
    return any(troubled) and (world.gone_at[member] < 1e12 or world.closed[member][1] > world.now)
