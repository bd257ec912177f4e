"""Every sentence and label that a person reads, in English, by its key: what other languages translate, but OPERATOR.

Long on purpose: writers and translators read it from top to bottom. Placeholders are named; `{/veo}` is a command,
marked up by the front. A `_note` above a message is for its translators. There is no markup in here. `plural` gives one
form for each number in English; `{count}` chooses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Plural:
    """A message whose words depend on a number."""

    one: str
    other: str


def _(message: str) -> str:
    """Mark a message, so that Babel extracts it."""
    return message


def plural(one: str, other: str) -> Plural:
    """Mark a message with its plural form, so that Babel extracts both."""
    return Plural(one, other)


COMMANDS: Mapping[str, str | Plural] = {
    "command.veo": _("Make a video from your prompt with Google Veo 3.1"),
    "command.veo.prompt": _("What the video shows: subject, action, place, style, sound"),
    # _note: The name of a choice: a length in seconds and the least that such a video costs.
    "choice.duration": _("{count} s · from {price}"),
    "command.veo.duration": _("How long the video is (default 8 s)"),
    # _note: A choice that stands for a period: an amount per day.
    "choice.day": _("day"),
    "choice.week": _("week"),
    "choice.month": _("month"),
    # _note: A choice beside the languages: the one that Discord names.
    "choice.automatic": _("Automatic"),
    "command.veo.resolution": _("Size of the picture (default 720p); 4k costs more"),
    "command.veo.aspect_ratio": _("16:9 landscape or 9:16 portrait (default 16:9)"),
    "command.veo.generate_audio": _("With sound (default yes); without is cheaper"),
    "command.veo.negative_prompt": _("What the video should not show"),
    "command.veo.seed": _("Same number, similar result; leave empty for a surprise"),
    "command.veo.auto_fix": _("Let Veo rephrase a prompt it would otherwise refuse (default yes)"),
    "command.veo.safety_tolerance": _("1 is the strictest filter, 6 the loosest (default 4)"),
    "command.veo-quota": _("How much you can still spend, and when that resets"),
    "command.veo-history": _("Your videos and what each cost, newest first"),
    "command.veo-history.videos": _("Only those you can post again (default: all)"),
    "command.veo-history.member": _("Someone else's videos in this server, if you manage it"),
    "command.veo-show": _("Post one of your videos again"),
    "command.veo-show.run": _("Some words of its prompt, or its ID (default: your latest)"),
    "command.veo-admin": _("Budgets, access, refunds and reports for this server"),
    "command.veo-admin.limit": _("What can be spent here"),
    "command.veo-admin.limit.set": _("Set a spending limit for the server, a member, a role or a channel"),
    "command.veo-admin.limit.set.amount": _("Dollars, such as 25 or 12.50; 0 stops all videos; none removes the limit"),
    "command.veo-admin.limit.set.per": _("How often the budget starts anew (default: as before)"),
    "command.veo-admin.limit.set.runs": _("How many videos can be in the works at a time"),
    "command.veo-admin.limit.set.member": _("Limit one member"),
    "command.veo-admin.limit.set.role": _("Limit each member who has this role"),
    "command.veo-admin.limit.set.channel": _("Limit what is spent in a channel"),
    "command.veo-admin.limit.set.pool": _("With a role: one budget that all its members share"),
    "command.veo-admin.limit.show": _("Show all limits, or how much is left of one"),
    "command.veo-admin.limit.show.member": _("Show one member's limit"),
    "command.veo-admin.limit.show.role": _("Show the budget that a role shares"),
    "command.veo-admin.limit.show.channel": _("Show a channel's limit"),
    "command.veo-admin.limit.lift": _("Remove a limit of the server, a member, a role or a channel"),
    "command.veo-admin.limit.lift.member": _("Remove one member's own limit"),
    "command.veo-admin.limit.lift.role": _("Remove the limit for each member who has this role"),
    "command.veo-admin.limit.lift.channel": _("Remove a channel's limit"),
    "command.veo-admin.limit.lift.pool": _("With a role: remove the budget that its members share"),
    "command.veo-admin.grant": _("Give extra budget for the current period"),
    "command.veo-admin.grant.amount": _("Dollars, such as 5 or 2.50"),
    "command.veo-admin.grant.member": _("Give it to one member"),
    "command.veo-admin.grant.role": _("Add it to the budget that a role shares"),
    "command.veo-admin.grant.channel": _("Add it to a channel's budget"),
    "command.veo-admin.reason": _("Why; it's kept in the log"),
    "command.veo-admin.access": _("Who can use /veo, and where"),
    "command.veo-admin.access.block": _("Stop a member from using /veo here"),
    "command.veo-admin.access.block.member": _("Who can no longer use /veo here"),
    "command.veo-admin.access.unblock": _("Let a blocked member use /veo here again"),
    "command.veo-admin.access.unblock.member": _("Who can use /veo here again"),
    "command.veo-admin.access.allow": _("Allow only these roles or channels to use /veo"),
    "command.veo-admin.access.allow.role": _("A role that can use /veo; roles that aren't on the list can't"),
    "command.veo-admin.access.allow.channel": _("A channel where /veo works; it stops working in others"),
    "command.veo-admin.access.disallow": _("Take a role or channel off that list"),
    "command.veo-admin.access.disallow.role": _("A role to take off; with no role left, everyone can use /veo"),
    "command.veo-admin.access.disallow.channel": _("A channel to take off; with none left, /veo works everywhere"),
    "command.veo-admin.pause": _("Pause /veo in this server; videos in the works still arrive"),
    "command.veo-admin.resume": _("Let members use /veo in this server again"),
    "command.veo-admin.requests": _("Channel where you approve or deny requests for more budget"),
    "command.veo-admin.requests.channel": _("Where you see the requests; leave it out to take none"),
    "command.veo-admin.language": _("Choose the language of messages that everyone here sees"),
    "command.veo-admin.language.language": _("The language; automatic follows this server's Discord settings"),
    "command.veo-admin.refund": _("Refund a video's cost to its member, or release one that is stuck"),
    "command.veo-admin.refund.run": _("The ID of the video, as under its message"),
    "command.veo-admin.report": _("Spending by member, role, channel and day"),
    "command.veo-admin.report.days": _("How many days, today included (default 30)"),
    "command.veo-admin.log": _("What admins did here, newest first"),
    "command.veo-admin.bot": _("The whole bot, for its owner"),
    "command.veo-admin.bot.limit": _("Set a spending limit for the whole bot"),
    "command.veo-admin.bot.limit.amount": _("Dollars, such as 25 or 12.50; 0 stops all videos; none removes the limit"),
    "command.veo-admin.bot.limit.runs": _("How many videos can be in the works at a time, in all servers"),
    "command.veo-admin.bot.lift": _("Remove the whole bot's limit; the ceiling in the settings stays"),
    "command.veo-admin.bot.pause": _("Pause /veo in every server; videos in the works still arrive"),
    "command.veo-admin.bot.resume": _("Let members use /veo in every server again"),
    "command.veo-admin.bot.server": _("Switch /veo on or off in a server"),
    "command.veo-admin.bot.server.on": _(
        "True: /veo works there. False: it doesn't, even if the settings name the server"
    ),
    "command.veo-admin.bot.server.server": _("The server's ID (default: this server)"),
    "command.veo-admin.bot.report": _("Spending in all servers"),
    "command.veo-admin.bot.log": _("What was done to the whole bot, newest first"),
}

SHARED: Mapping[str, str | Plural] = {
    # _note: Only a fact, such as an amount. Nothing to translate.
    "is": "{fact}",
    # _note: Short facts beside each other, such as 8 s · 720p.
    "dotted": "{parts}",
    "run_id": _("Video {id}"),
    # _note: Seconds, as short as can be.
    "duration.seconds": _("{count} s"),
    "duration.minutes": _("{count} min"),
    "duration.hours": _("{count} h"),
    "option.silent": _("no sound"),
    "option.seed": _("seed {seed}"),
    "option.without": _("without {words}"),
    "option.tolerance": _("filter {tolerance} of 6"),
    "option.no_auto_fix": _("prompt as it is"),
    "button.receipt": _("Receipt"),
    "button.details": _("Details"),
    "button.delete": _("Delete"),
    "button.make": _("Make it · {price}"),
    # _note: Make another video of the same prompt.
    "button.remake.again": _("Again · {price}"),
    # _note: Make the same video in a better quality, such as 1080p.
    "button.remake.final": _("Final {resolution} · {price}"),
    "button.change": _("Change"),
    "button.same_seed": _("Same seed"),
    "button.remake.retry": _("Try again · {price}"),
    "button.prompt": _("Show my prompt"),
    # _note: Buttons that turn the pages of a list, the newest first.
    "button.turn.newer": _("Newer"),
    "button.turn.older": _("Older"),
    # _note: Shows a question again whose message is gone.
    "button.open": _("Open"),
    # _note: What is read in a menu before anything is picked.
    "select.post_again": _("Post again"),
    "button.sound": _("With sound"),
    # _note: A button that starts a video without sound, at this price.
    "button.remake.silent": _("Without sound · {price}"),
    # _note: Part of a button: what would be different.
    "button.silent": _("No sound"),
    "button.seconds": _("{count} s"),
    "button.not_now": _("Not now"),
    "button.ask": _("Ask an admin"),
    # _note: The amount by which a yes passes a limit.
    "button.approve_more": _("Approve +{amount}"),
    "button.approve": _("Approve"),
    "button.deny": _("Deny"),
    "button.cancel": _("Cancel"),
    # _note: A place in a row, in the forms in which English writes it. Where yours has one form, repeat it.
    "ordinal.one": _("{number}st"),
    "ordinal.two": _("{number}nd"),
    "ordinal.few": _("{number}rd"),
    "ordinal.other": _("{number}th"),
    "more": plural("and {count} more", "and {count} more"),
    "more_in_file": plural("and {count} more, in the file", "and {count} more, in the file"),
    "more_too_large": plural(
        "and {count} more, too much for a file here", "and {count} more, too much for a file here"
    ),
    "level.total": _("the whole bot"),
    "level.server": _("this server"),
    "level.channel": _("{who}"),
    "level.role": _("everyone with {who} together"),
    "level.member": _("you"),
    "server.named": _("{name} ({id})"),
    "server.id": _("server {id}"),
    "fault": _("Something went wrong on my side. {/veo-history} shows whether a video was started."),
    "fault.admin": _("Something went wrong on my side. {/veo-admin log} shows whether it was done."),
    "fault.reload": _("Discord sent me an outdated command, so nothing was started. Reload Discord and try again."),
    "store.down": _("I can't reach my records right now, so nothing was started. Try again soon."),
}

RUNS: Mapping[str, str | Plural] = {
    "card.reserved": _("Sending to Veo"),
    "card.submitting": _("Sending to Veo"),
    "card.in_line": _("In line"),
    # _note: The place is an ordinal, such as 4th.
    "place.in_line": _("In line · {place}"),
    "card.ambiguous": _("Checking with Veo"),
    "card.unknown": _("Not sure yet"),
    "card.running": _("Making your video"),
    "card.overdue": _("Taking longer than usual"),
    "card.ended.video": _("Done"),
    "card.ended.partial": _("Done"),
    "card.ended.nsfw": _("Flagged"),
    "card.ended.empty": _("It came back empty"),
    "card.ended.failed": _("Didn't work"),
    "card.ended.cancelled": _("Cancelled"),
    "title.history": _("Your videos"),
    "title.history_of": _("{member}'s videos in this server"),
    "title.quota": _("What you have left"),
    "title.receipt": _("Receipt"),
    "status.sending": _("Got it, sending it to Veo."),
    "status.in_line": _("In line since {since}. Other videos came first."),
    # _note: The first is a distance from now, such as "in 5 minutes", the second a time of day.
    "turn.waiting": _("Expected to start {starts}; usually ready by {latest}."),
    # _note: The same two sorts of times.
    "turn.at_work": _("Expected {ready}; usually ready by {latest}."),
    "card.stops": _("This card stops updating here. I'll post the video when it's ready."),
    "status.sent_again": _("Veo never got your video, so I'm sending it again."),
    "status.retrying": _("Veo isn't taking videos right now. I'll keep trying."),
    "status.ambiguous": _(
        "Veo didn't answer clearly. I'm finding out whether it's making your video; it won't be made twice."
    ),
    "status.unknown": _("I can't tell yet whether your video is being made. You won't be charged twice."),
    "status.held": _("{amount} is on hold until I know."),
    "status.running": _("In the works since {since}."),
    "status.overdue": _("It's taking longer than usual. I'm still watching it."),
    "posted.channel": _("Your video is in the channel."),
    "posted.member": _("Your video is in your direct messages."),
    "posted.soon_channel": _("Your video is on its way into the channel."),
    "posted.soon_member": _("Your video is on its way into your direct messages."),
    "posted.nowhere": _("I couldn't post your video. {/veo-show} tries again, also in another channel."),
    "ended.nsfw": _("It was flagged as not safe for work, so I can't show it."),
    "ended.empty": _("That's usually a content filter."),
    "ended.failed": _("Your video couldn't be made."),
    "ended.cancelled": _("It was cancelled at Veo."),
    "ended.withdrawn": _("You cancelled it before it was made."),
    "cancel.too_late": _("It's already being made, so I can't cancel it."),
    "charge.none": _("Nothing was charged"),
    "charge.as_quoted": _("{amount} charged, as quoted"),
    "charge.estimated": _("{amount} charged, as quoted (corrected if the bill differs)"),
    "charge.differs": _("{amount} charged, what it cost (quoted {quote})"),
    "charge.refunded": _("{charge}, {amount} refunded by an admin"),
    # _note: Above a video that somebody makes from another member's.
    "take.yours": _("Your own version"),
    "take.final": _("Same prompt and seed in better quality: similar, not equal."),
    "headline.video": _("{member}, here's your video!"),
    "headline.partial": _("{member}, here's your video! Only part of it could be made."),
    # _note: The headline of a video, and what it was made from.
    "notice.with_prompt": _("{headline} {prompt}"),
    "headline.no_video": _("{member}, your video couldn't be made."),
    "headline.unknown": _(
        "{member}, I can't tell yet whether your video is being made. If it turns up, I'll post it here."
    ),
    "headline.overdue": _("{member}, your video is taking longer than usual. I'll post it here when it's done."),
    "notice.direct": _("I couldn't post it in {channel}, so it comes to you alone."),
    "notice.lost": _("The file couldn't be downloaded for a whole day. {/veo-show} tries again."),
    "notice.fault": _(
        "{member}, something went wrong on my side with this message. {/veo-history} shows how your video ended."
    ),
    # _note: The words of the provider, as they came.
    "reason": _("Reason: {reason}"),
    "next.nsfw": _("Try other words, or a stricter filter (safety_tolerance)."),
    "next.empty": _("Try other words, or without sound: sound is filtered separately."),
    "next.cancelled": _("Someone with access to the Veo account stopped it. Ask them, or start it again."),
    "next.policy": _("Veo's content rules said no. Reword the prompt: the same one will be refused again."),
    "next.operator": _("Only the bot's owner can fix that. Please tell them."),
    "next.failed": _("Try again, or change an option."),
    "next.failed.unreachable": _("I couldn't reach Veo in time. Try again later."),
    "next.failed.no_turn": _("Too many videos were in line before it. Try again later."),
    "next.failed.never_arrived": _("It never reached Veo. Try again."),
    "format.HEVC": _("This video is HEVC, which some devices can't play."),
    "format.WebM": _("This file is WebM."),
    "format.Matroska": _("This file is Matroska. Download it to play it."),
    "format.QuickTime": _("This file is QuickTime."),
    "format.AVI": _("This file is AVI. Download it to play it."),
    "link.too_large": _("The file is too large to attach here."),
    "link.could_not_attach": _("The file couldn't be attached here."),
    "link.ours": _("The link expires {until}; {/veo-show} gives you a new one."),
    "link.of_provider": _("The link expires soon, often within a day; {/veo-show} gives you a new one."),
    "link.too_long": _("Its link is too long to post. The bot's owner can fix that by setting PUBLIC_URL."),
    "receipt.held": _("{amount} on hold, nothing charged yet."),
    "receipt.quoted": _("Quoted {amount} · {when}"),
    "rule.unknown": _(
        "I can't tell yet whether it's being made. The hold stays until I know, and nothing is made twice."
    ),
    "rule.open": _("You pay what it costs in the end. If it isn't billed, you get the whole hold back."),
    "rule.released": _("Nobody could tell whether it was made, so an admin released the hold."),
    "rule.released_overdue": _("It never ended, so an admin released the hold."),
    "rule.estimated": _("There's no bill yet. A finished video without one counts as quoted."),
    "rule.unbilled": _("A video that couldn't be made and wasn't billed costs nothing."),
    "rule.flagged": _("It was made and billed, even though a flagged video is never shown."),
    "rule.work_done": _("The work that was done was billed."),
    "rule.above_quote": _("It cost more than quoted. The bot's owner can see this in the log."),
    "rule.withdrawn": _("You cancelled it before it was made, so it costs nothing."),
    "rule.billed": _("You pay what Runflow billed."),
    "history.none": _("No videos yet. Make your first with {/veo}."),
    "history.no_videos": _("There's nothing to post again yet."),
    "history.none_here": _("No videos of theirs in this server."),
    "history.admins_only": _("Only those who manage this server can see someone else's videos."),
    "history.entry": _("{prompt} {state} · {money}"),
    "history.details": _("{day} · {options} · {id}"),
    "history.held": _("{amount} on hold"),
    "history.estimated": _("{fact} (estimated)"),
    "history.free": _("not charged"),
    "history.refunded": _("{charge}, {amount} refunded"),
    "state.posted": _("posted"),
    "state.on_its_way": _("on its way"),
    "state.undeliverable": _("not posted"),
    "state.nsfw": _("flagged"),
    "state.empty": _("came back empty"),
    "state.failed": _("didn't work"),
    "state.cancelled": _("cancelled"),
    "state.reserved": _("in line"),
    "state.submitting": _("being sent"),
    "state.ambiguous": _("being checked"),
    "state.running": _("in the works"),
    "state.unknown": _("not sure yet"),
    "left.unlimited": _("no limit"),
    "left.some.day": _("{left} left today"),
    "left.some.week": _("{left} left this week"),
    "left.some.month": _("{left} left this month"),
    "left.nothing.day": _("nothing left today"),
    "left.nothing.week": _("nothing left this week"),
    "left.nothing.month": _("nothing left this month"),
    # _note: {bar} is drawn: how much of the limit is used.
    "quota.left.day": _("{bar} {left} left of {limit} today"),
    "quota.left.week": _("{bar} {left} left of {limit} this week"),
    "quota.left.month": _("{bar} {left} left of {limit} this month"),
    "quota.nothing_left.day": _("Nothing left today: {used} of {limit} used."),
    "quota.nothing_left.week": _("Nothing left this week: {used} of {limit} used."),
    "quota.nothing_left.month": _("Nothing left this month: {used} of {limit} used."),
    "quota.unlimited.day": _("You have no limit. {used} used today."),
    "quota.unlimited.week": _("You have no limit. {used} used this week."),
    "quota.unlimited.month": _("You have no limit. {used} used this month."),
    "quota.about": plural(
        "About {count} more video at {price}.",
        "About {count} more videos at {price} each.",
    ),
    "quota.in_the_works": _("In the works"),
    # _note: A video that is being made: its prompt, where it stands, the channel it goes to, how long ago it was asked for.
    "quota.run": _("{prompt} {state} · {place} · {since}"),
    "quota.offer.confirm": _("Make {prompt} for {price}? Expires {expires}."),
    "quota.offer.request": _("{prompt} for {price} is over a limit. You can ask an admin."),
    "quota.offer.kept": _("{prompt} wasn't made. I keep it for a day."),
    "quota.offer.asked": _("{prompt} for {price}: waiting for an admin."),
    "quota.held": _("{held} on hold for videos in the works."),
    "quota.extra": _("{extra} of your limit is extra, from an admin."),
    "quota.resets": _("Resets {when} ({relative})."),
    "quota.shared.day": _("{left} of {limit} left today for {level}, resets {resets}."),
    "quota.shared.week": _("{left} of {limit} left this week for {level}, resets {resets}."),
    "quota.shared.month": _("{left} of {limit} left this month for {level}, resets {resets}."),
    "nearly_used.own": _("You've used {used} of your {limit}."),
    "nearly_used.shared": _("The budget of {level} is over 80% used."),
    "show.soon": _("On its way into the channel."),
    "show.posted": _("Posted."),
    "show.cleared": _("That video's file was just cleared away. Try again."),
    "show.unreadable": _("I can't reach Veo right now. Try again later."),
    "show.gone": _("I can't get that video anymore: its message is gone, and so is the file."),
    "show.none": _("No videos yet. Make your first with {/veo}."),
    "show.no_such": _("None of your videos has that ID or those words in its prompt. {/veo-history} lists them."),
    "show.too_often": plural(
        "You've just posted a video. You can post the next one {until}.",
        "You've just posted {count} videos. You can post the next one {until}.",
    ),
    "show.first_posted": _("First posted here: {url}"),
}

WISHES: Mapping[str, str | Plural] = {
    "title.question": _("Make this for {price}?"),
    "title.request": _("Asking the admins"),
    "title.not_made": _("Not made"),
    "title.over_limit": _("Over a limit"),
    "question.expires": _("Expires {when}."),
    "question.declined": _("Okay, not made."),
    "question.expired": _("That question has expired. Nothing was charged."),
    "question.elsewhere": _("That question belongs to another server. Answer it there."),
    "draft.gone": _("That was more than a day ago, so I can't bring the prompt back. Start over with {/veo}."),
    "run.gone": _("I can't make another from that video. Start over with {/veo}."),
    "press.twice": _("I took that for a double press. Press again in a few seconds if you mean it."),
    "form.twice": _("That form was already sent. Open it again for another video."),
    "press.unknown": _("That button is from another version of me. Use {/veo} instead."),
    "deleted": _("Deleted. {/veo-show} posts it again."),
    "delete.not_yours": _("Only the member who made a video, or someone who can manage messages, can delete it."),
    "delete.too_soon": _("I'm still posting it. Try again in a minute."),
    "delete.failed": _("I can't delete that message right now. Try again, or delete it yourself."),
    "question.not_yours": _("That button isn't for you."),
    "prompt.empty": _("Your prompt is empty. Describe the video you want."),
    "prompt.too_long": plural(
        "Your {option} has {count} character; the most is {longest}. Shorten it and try again.",
        "Your {option} has {count} characters; the most is {longest}. Shorten it and try again.",
    ),
    "option.not_offered": _("{/veo} doesn't offer that for {options}. Nothing was started."),
    "over.limit": _("This video costs {price}, which is over a limit."),
    "over_limit.own": _("This video costs {price}, and you have {left} left. Your limit resets {resets}."),
    "over_limit.own_nothing_left": _(
        "This video costs {price}, and you have nothing left. Your limit resets {resets}."
    ),
    "over_limit.shared": _("This video costs {price}, which is over the limit of {level}. It resets {resets}."),
    "over.held": _("{held} of your limit is on hold for videos in the works. You get back what they don't cost."),
    "over.nothing_fits": _("Even the cheapest video costs {cheapest}, so nothing fits until then."),
    "over.too_low.own": _("Your limit is {limit}, and the cheapest video costs {cheapest}."),
    "over.too_low.shared": _("The limit of {level} is {limit}, and the cheapest video costs {cheapest}."),
    "over.nobody.own": _("You don't have a budget for videos here."),
    "over.nobody.shared": _("There's no budget for videos here: the limit of {level} is 0."),
    "over.ask_admin": _("Ask an admin to raise it."),
    "over.ask_owner": _("Only the bot's owner can raise it."),
    "flights.member": plural(
        "You already have a video in the works. Try again when it's done.",
        "You already have {count} videos in the works. Try again when one is done.",
    ),
    "flights.role": plural(
        "Your role already has a video in the works. Try again when it's done.",
        "Your role already has {count} videos in the works. Try again when one is done.",
    ),
    "flights.channel": plural(
        "This channel already has a video in the works. Try again when it's done.",
        "This channel already has {count} videos in the works. Try again when one is done.",
    ),
    "flights.server": plural(
        "This server already has a video in the works. Try again when it's done.",
        "This server already has {count} videos in the works. Try again when one is done.",
    ),
    "flights.total": plural(
        "Another video is in the works, and there's no room for more. Try again when it's done.",
        "{count} videos are in the works, and there's no room for more. Try again when one is done.",
    ),
    "flights.none.member": _("You can't start a video right now. Questions? Ask an admin."),
    "flights.none.role": _("Your role can't start a video right now. Questions? Ask an admin."),
    "flights.none.channel": _("Nobody can start a video in this channel right now. Questions? Ask an admin."),
    "flights.none.server": _("Nobody can start a video in this server right now. Questions? Ask an admin."),
    "flights.none.total": _("Nobody can start a video right now. Try again later."),
    "access.paused_everywhere": _("{/veo} is paused everywhere right now. Try again later."),
    "access.paused": _("{/veo} is paused in this server right now. Try again later."),
    "access.blocked": _("You can't use {/veo} in this server right now. Questions? Ask an admin."),
    "access.role_needed": _("You need a role to use {/veo} here. Ask an admin for one."),
    "access.other_channel": _("Use {/veo} in {channels}."),
    "place.kind": _("I can't post videos in this kind of channel. Use another one."),
    "place.permissions": _(
        "I can't post your video here: I need {permissions}. Ask an admin to allow that, or use another channel."
    ),
    "server.none": _("{/veo} only works in servers."),
    "server.not_on": _("{/veo} isn't switched on in this server yet."),
    "server.not_on.how": _(
        "{why} The bot's owner can switch it on here with {/veo-admin bot server}, or by adding {server} to DISCORD_SERVERS."
    ),
    "server.off": _("{/veo} is switched off in this server."),
    "server.off.how": _("{why} The bot's owner can switch it on again with {/veo-admin bot server}."),
    # _note: The title of a form. At most 45 letters.
    "form.title": _("Change your video"),
    "form.title.yours": _("Make your own version"),
    "form.title.new": _("Make a video"),
    "menu.no_text": _("That message has no text."),
    # _note: The names of fields in a form, at most 45 letters each.
    "form.label.prompt": _("Prompt"),
    "form.label.negative_prompt": _("What it should not show"),
    "form.label.film": _("Length, size and sound"),
    "form.label.shape": _("Shape and filter"),
    "form.label.seed": _("Seed"),
    # _note: What stands below the name of a field, at most 100 letters.
    "form.hint.negative_prompt": _("Leave empty for nothing in particular"),
    "form.hint.seed": _("Same number, similar result; leave empty for a surprise"),
    "form.sound": _("with sound"),
    "form.landscape": _("{ratio} landscape"),
    "form.portrait": _("{ratio} portrait"),
    "form.auto_fix": _("Veo may rephrase the prompt"),
    "form.too_long": _("This prompt is too long for a form, which takes {longest} characters. Copy it and use {/veo}."),
    "seed.unreadable": _("{seed} isn't a seed. Write a whole number up to {largest}, or leave it empty."),
    "request.sent": _("The admins have your request. If they approve, I'll post your video here."),
    "request.off": _("Admins don't take requests here anymore."),
    "request.not_posted": _("I couldn't post your request to the admins. Try again later, or tell an admin."),
    "request.denied": _("An admin said no to this video"),
    "request.denied_recently": _("An admin said no to your last request. You can ask again {until}."),
    # _note: {whose} is one of the whose.* texts: over their own limit.
    "request.asked": _("{member} would like a video: {price}, over {whose}"),
    "request.place": _("in {channel}"),
    "whose.member": _("their own limit"),
    "whose.role": _("the limit of everyone with {who} together"),
    "whose.everyone": _("the limit of all members together"),
    "whose.channel": _("the limit of {who}"),
    "whose.server": _("this server's limit"),
    "whose.total": _("the whole bot's limit"),
    "request.adds.day": _("Adds {amount} to {whose}: {left} of {limit} left today."),
    "request.adds.week": _("Adds {amount} to {whose}: {left} of {limit} left this week."),
    "request.adds.month": _("Adds {amount} to {whose}: {left} of {limit} left this month."),
    "request.once": _("Approve makes exactly this video, once. Expires {expires}."),
    "request.was_replaced": _("Replaced by a newer request."),
    "request.was_denied": _("Denied by {admin}"),
    "request.was_approved": _("Approved by {admin}"),
    "request.gone": _("That request is no longer open. Nothing was changed."),
    "request.answered": _("That was already answered. Nothing was changed."),
    "request.replaced": _("The member has asked for another video since. Answer that request."),
    "request.adds_more": _("By now it would add {amount}. Nothing was approved; press again if that's fine."),
    "request.member_not_allowed": _("The member can't use {/veo} there right now, so nothing was approved."),
    "request.member_left": _("The member isn't in this server anymore, so nothing was approved."),
    "request.roles_unknown": _("Discord can't tell me the member's roles right now. Try again in a moment."),
    "request.too_many": _("Too many videos are in the works right now. Approve again when one is done."),
    "request.dearer": _("That video costs {price} by now. Nothing was approved; the member has to ask again."),
    "request.no_room": _("This video costs {price}, which is over the bot owner's ceiling. Nothing was approved."),
    "request.admins_only": _("Only people who can manage this server can answer requests."),
    "receipt.not_yours": _(
        "Only the member who asked for a video, and those who can manage the server, can see its receipt."
    ),
}

ADMINS: Mapping[str, str | Plural] = {
    "title.report": _("Spending"),
    "amount.unreadable": _("{amount} isn't an amount of dollars. Write it like 10 or 12.50."),
    "amount.negative": _("{amount} is below zero. Write 0 or more, like 10 or 12.50."),
    "amount.two_ways": _("{amount} can be read two ways. Write {one} or {other}."),
    "amount.too_large": _("{amount} is over a billion dollars. Write a smaller amount."),
    "limit.none": _("no limit"),
    "limit.per_day": _("{amount} a day"),
    "limit.per_week": _("{amount} a week"),
    "limit.per_month": _("{amount} a month"),
    "limit.in_flight": plural("{count} video at a time", "{count} videos at a time"),
    "limit.both": _("{amount}, {in_flight}"),
    "limit.nothing_named": _("Name an amount, a number of videos at a time, or both. Nothing was changed."),
    "limit.period_alone": _("Name an amount for that period, too. Nothing was changed."),
    "limit.above_ceiling": _(
        "{limit} is above the bot owner's ceiling of {ceiling}. Name at most that. Nothing was changed."
    ),
    "limit.none_to_remove": _("There's no limit to remove. Nothing was changed."),
    "limit.one_subject": _("Name only one of member, role and channel. Nothing was changed."),
    "limit.pool_needs_role": _(
        "Only a role can share a budget. Name the role, or leave pool out. Nothing was changed."
    ),
    "access.subject_needed": _("Name a role or a channel. Nothing was changed."),
    "member.not_here": _("{member} isn't in this server. Nothing was changed."),
    "grant.nothing": _("Name an amount above 0. Nothing was changed."),
    "grant.no_limit": _("There's no limit to add to. Nothing was changed."),
    "grant.zero_limit": _("The limit is 0, so extra budget wouldn't help. Set a limit first."),
    "grant.too_large": _("{amount} is too much to add. Name a smaller amount."),
    "unblock.not_blocked": _("{who} isn't blocked here."),
    "disallow.not_listed": _("{who} isn't on the list."),
    "resume.not_paused": _("{/veo} isn't paused."),
    "language.automatic_already": _("The language is already automatic."),
    "requests.off_already": _("Requests are already off."),
    "requests.cannot_write": _("I can't write in {channel}. Allow that first, or name another channel."),
    "switch.on_already": _("{/veo} is already on in that server."),
    "switch.off_already": _("{/veo} is already off in that server."),
    "switch.no_id": _("{id} isn't a server ID. It's a number, such as {example}."),
    "switch.not_in_it": _("I'm not in server {id}. Invite me first, then switch {/veo} on: {url}"),
    "refund.in_the_works": _(
        "That video is still in the works, so nothing was charged yet. If it never ends, you can release it once it's overdue."
    ),
    "refund.not_charged": _("That video wasn't charged, so there's nothing to refund."),
    "refund.already": _("That video was already refunded. Nothing was changed."),
    "refund.just_changed": _("Something about that video just changed. Look at it again first."),
    "run.not_here": _("No video in this server has that ID. {/veo-admin report} lists them all."),
    "owner.only": _("Only the bot's owner can do that."),
    "discord.owner_unknown": _(
        "Discord can't tell me right now who owns this bot. Nothing was changed; try again soon."
    ),
    "discord.server_unknown": _(
        "Discord can't tell me right now whether I'm in that server. Nothing was changed; try again soon."
    ),
    "done.limit": _("Done: {who} can spend up to {limit}."),
    "done.no_limit": _("Done: {who} can spend without a limit."),
    "done.nothing": _("Done: {who} can't make videos."),
    "done.in_flight": plural(
        "Done: {who} can have {count} video in the works at a time.",
        "Done: {who} can have {count} videos in the works at a time.",
    ),
    "done.extra": _("With {extra} extra, {left} is left for now."),
    "done.already_over": _("Already over: {used} used."),
    "done.limit_removed": _("Done. That limit for {who} is gone. What applies now:"),
    "done.defaults_apply": _("Other limits of theirs, or the default."),
    "done.ceiling_applies": _("The settings allow the whole bot {limit}."),
    "done.no_ceiling": _("The whole bot can spend without a limit."),
    "done.ceiling_stays": _("Done: {who} has no limit of its own. The settings still allow {limit} at most."),
    "done.granted": _("Done. {amount} extra for {who}."),
    "did.block": _("Done. {who} can't use {/veo} here anymore. Videos in the works still arrive."),
    "did.unblock": _("Done. {who} can use {/veo} here again."),
    "allowed.role": _("Done. {who} can use {/veo}. Roles that aren't on the list can't."),
    "allowed.channel": _("Done. {/veo} works in {who}. It doesn't in channels that aren't on the list."),
    "disallowed.role": _("{who} removed. Still on the list: {others}."),
    "disallowed.channel": _("{who} removed. Still on the list: {others}."),
    "disallowed_last.role": _("{who} removed. The list is empty, so everyone can use {/veo}."),
    "disallowed_last.channel": _("{who} removed. The list is empty, so {/veo} works in every channel."),
    "did.pause": _("Paused. Nobody can start a video in this server. Videos in the works still arrive."),
    "did_everywhere.pause": _("Paused. Nobody can start a video in any server. Videos in the works still arrive."),
    "did.resume": _("{/veo} works in this server again."),
    "did_everywhere.resume": _("{/veo} works again in every server that its own admins haven't paused."),
    "done.requests here": _("Done. Requests go to {channel}."),
    "done.requests off": _("Requests are off."),
    "done.language set": _("Done. Messages that everyone here sees are in {language} now."),
    "done.language automatic": _("Done. Messages that everyone here sees follow this server's language in Discord."),
    "done.language.private": _("What I tell someone privately is in their own language."),
    "done.server on": _("Done. {/veo} works in {server}."),
    "done.server off": _("Done. {/veo} is off in {server}. Videos in the works still arrive."),
    "done.stays_off": _("It stays off until you switch it on again, whatever DISCORD_SERVERS says."),
    "done.refund": _("Done. {member} can spend {amount} more in this server this period."),
    "done.refund.no_limit": _("Their limit is 0, so that doesn't help until you raise it."),
    "done.refund.paid": _("The server's total still includes it, because it was paid for."),
    "done.release": _("Released. The {amount} on hold for {member} is free again."),
    "done.release.unknown": _("If Runflow made the video after all, its bill isn't booked and the video isn't posted."),
    "done.release.overdue": _("If Runflow bills it within a day after all, that's booked. The video isn't posted."),
    "who.total": _("the whole bot"),
    "who.server": _("this server"),
    "who.channel": _("{name}"),
    "who.member": _("{name}"),
    "who.role_each": _("each member with {name}"),
    "who.role_pool": _("everyone with {name} together"),
    "who.role": _("{name}"),
    "who.everyone_each": _("every member"),
    "who.everyone_pool": _("all members together"),
    "limit_in_force": _("{who}: {limit}"),
    "in_force.allow": _("{who} can use {/veo}"),
    "in_force.block": _("{who} is blocked"),
    "in_force.pause": _("{who} is paused"),
    "in_force.on": _("{who} is switched on"),
    # _note: {language} is the language's own name, such as Deutsch.
    "public_language": _("messages for everyone are in {language}"),
    "in_force.desk": _("requests go to {who}"),
    "stands.limited.day": _("{who}: {left} of {limit} left today; {used} used, {held} on hold, resets {resets}."),
    "stands.limited.week": _("{who}: {left} of {limit} left this week; {used} used, {held} on hold, resets {resets}."),
    "stands.limited.month": _(
        "{who}: {left} of {limit} left this month; {used} used, {held} on hold, resets {resets}."
    ),
    "stands.extra.day": _(
        "{who}: {left} of {limit} left today, {extra} of it extra; {used} used, {held} on hold, resets {resets}."
    ),
    "stands.extra.week": _(
        "{who}: {left} of {limit} left this week, {extra} of it extra; {used} used, {held} on hold, resets {resets}."
    ),
    "stands.extra.month": _(
        "{who}: {left} of {limit} left this month, {extra} of it extra; {used} used, {held} on hold, resets {resets}."
    ),
    "stands.unlimited.day": _("{who}: no limit today; {used} used, {held} on hold, resets {resets}."),
    "stands.unlimited.week": _("{who}: no limit this week; {used} used, {held} on hold, resets {resets}."),
    "stands.unlimited.month": _("{who}: no limit this month; {used} used, {held} on hold, resets {resets}."),
    # _note: {about} is whom or what it was done to.
    "act.limit set": _("{who} set a limit: {about}"),
    "act.member limit set": _("{who} set a limit for each member: {about}"),
    "act.limit lifted": _("{who} removed a limit: {about}"),
    "act.member limit lifted": _("{who} removed the limit for each member: {about}"),
    "act.grant": _("{who} gave extra budget: {about}"),
    "act.block": _("{who} blocked {about}"),
    "act.unblock": _("{who} unblocked {about}"),
    "act.allow": _("{who} allowed {about}"),
    "act.disallow": _("{who} took {about} off the list"),
    "act.pause": _("{who} paused {about}"),
    "act.resume": _("{who} resumed {about}"),
    "act.requests here": _("{who} sent requests to {about}"),
    "act.requests off": _("{who} switched requests off: {about}"),
    "act.server on": _("{who} switched on {about}"),
    "act.server off": _("{who} switched off {about}"),
    # _note: The language itself follows after a dot.
    "act.language set": _("{who} chose the language: {about}"),
    "act.language automatic": _("{who} made the language automatic: {about}"),
    "act.refund": _("{who} refunded {about}"),
    "act.release": _("{who} released {about}"),
    "act.request approved": _("{who} approved a request of {about}"),
    "act.request denied": _("{who} denied a request of {about}"),
    "act.other": _("{who} {verb}: {about}"),
    "in_server": _("in {server}"),
    "adds.total": _("adds {amount} beyond the whole bot's limit"),
    "adds.server": _("adds {amount} beyond the server's limit"),
    "adds.channel": _("adds {amount} beyond the channel's limit"),
    "adds.role": _("adds {amount} beyond a role's limit"),
    "adds.member": _("adds {amount} beyond the member's limit"),
    "about.run": _("video {id}"),
    "about.run_of": _("video {id} of {member}"),
    "log.none": _("Nobody did anything here yet."),
    "log.older_in_file": plural("{count} older, in the file.", "{count} older, in the file."),
    "log.older_without_file": plural(
        "{count} older one is too much for a file here.", "{count} older ones are too many for a file here."
    ),
    "log.left_out_of_file": plural("The {count} oldest doesn't fit into it.", "The {count} oldest don't fit into it."),
    "report.span": _("{since} to {until}"),
    "report.spent": _("Spent"),
    "report.held_and_refunded": _("{held} on hold, {refunded} refunded"),
    "report.succeeded": _("Succeeded"),
    "report.rate": plural("{percent}% of {count}", "{percent}% of {count}"),
    "report.none_ended": _("none has ended yet"),
    "report.open": plural("{asked} asked for, {count} in the works", "{asked} asked for, {count} in the works"),
    "report.wait": _("Median wait"),
    "report.no_wait": _("none yet"),
    "report.by_member": _("By member"),
    "report.by_role": _("By role"),
    "report.by_channel": _("By channel"),
    "report.group": plural("{name} · {spent} · {count} video", "{name} · {spent} · {count} videos"),
    "report.nobody": _("nobody"),
    "chart.nothing": _("nothing spent"),
    "report.off_quote": _("Billed differently"),
    "report.cost_more": plural(
        "{count} video cost {amount} more than quoted.", "{count} videos cost {amount} more than quoted in all."
    ),
    "report.cost_less": plural(
        "{count} video cost {amount} less than quoted.", "{count} videos cost {amount} less than quoted in all."
    ),
    "report.mend_prices": _("The bot's owner can correct PRICE_USD_PER_SECOND."),
    "report.left_out": _("Not attached"),
    "report.left_out.chart": _("The chart is too large for Discord here. Try fewer days."),
    "report.left_out.table": _("The table is too large for Discord here. Try fewer days."),
    "report.left_out.both": _("The chart and the table are too large for Discord here. Try fewer days."),
}

# Read in a terminal or a log, by the person who installs the bot: in English only.
OPERATOR: Mapping[str, str | Plural] = {
    "setting.wrong": "{problem}",
    "setting.prices": "PRICE_USD_PER_SECOND must be JSON such as {example}.",
    "setting.file": "{file} cannot be read ({why}); it must be UTF-8 text of NAME=VALUE lines.",
    "setting.line": (
        "Line {line} of {file} cannot be read, and it might set a limit; write NAME=VALUE, comments after #."
    ),
    "setting.proxy": "{name} must be the address of an HTTP proxy such as http://proxy.example:3128.",
    "prices.resolutions": "PRICE_USD_PER_SECOND must price exactly the resolutions {needed}; it names {named}.",
    "prices.missing": (
        'PRICE_USD_PER_SECOND needs the prices silent and audio for {resolution}, each a decimal string above 0 such as "0.40".'
    ),
    "start.port": (
        "The web server cannot listen on {address} ({why}); set {settings}_HOST and {settings}_PORT to an address of this machine that is free."
    ),
    "start.media": (
        "MEDIA_DIR {folder} cannot be used ({why}); set it to a folder that the bot can write to, on a disk with room for clips."
    ),
    "start.runflow_key": (
        "RUNFLOW_API_KEY is refused by {url} (HTTP {status}); copy the key from Runflow's dashboard again."
    ),
    "start.discord_token": (
        "DISCORD_TOKEN is refused by Discord; copy the bot's token from the Developer Portal again."
    ),
    "start.discord_refuses": "Discord refuses what this version sends ({why}); update the bot.",
    "start.no_sandbox": "This installation has no sandbox; run demo and sandbox from a checkout of the source.",
    "start.other_package": "Python finds another package {name} than the one beside bot/; run this from {folder}.",
    "gateway.token": (
        "Discord's gateway refuses DISCORD_TOKEN (code 4004); copy the bot's token from the Developer Portal again."
    ),
    "gateway.shard": "Discord's gateway refuses the shard that this version names (code 4010); update the bot.",
    "gateway.sharding": (
        "Discord's gateway asks for shards (code 4011): the bot is in more servers than one connection may hear, about 2,500. Take it out of some; this version has one connection."
    ),
    "gateway.version": "Discord's gateway no longer speaks this version's API (code 4012); update the bot.",
    "gateway.unknown_intent": (
        "Discord's gateway does not know an intent that this version asks for (code 4013); update the bot."
    ),
    "gateway.intent": (
        "Discord's gateway does not allow an intent that this version asks for (code 4014). It needs none that is privileged; see under Bot in the Developer Portal whether the application is restricted, or update the bot."
    ),
    "export.days": "--from {first} is after --to {last}; name the earlier day first.",
    "output.incomplete": "The output cannot be written ({why}); check the disk or where it goes, then try again.",
    "export.incomplete": "The export is incomplete because it cannot be written ({why}).",
    "database.foreign": "{path} is a database of another program; name another file in DATABASE_URL.",
    "database.newer": (
        "{path} was written by a newer version of this program (it knows {step}); start that version, or name another file in DATABASE_URL."
    ),
    "database.none": "There is no database at {path} yet; the first start of the bot makes it.",
    "database.empty": "The database {path} cannot be read (there is nothing in it).",
    "database.older": "{path} is as an older version left it; start the bot once to bring it up to date.",
    "database.unreadable": "The database {path} cannot be read ({why}).",
    "database.unopened": ("The database {path} cannot be opened ({why}); check DATABASE_URL, the folder and the disk."),
    # _note: {owner} is a process, such as "process 123".
    "database.in_use": (
        "The database {path} is in use by {owner}; stop that one first, or name another file in DATABASE_URL."
    ),
    "database.unlockable": (
        "The database {path} cannot be locked ({why}), so a second bot could not be kept out; name a file on a local disk in DATABASE_URL."
    ),
    "backup.folder": "{file} is a folder; name a new file in it, such as {example}.",
    "backup.no_folder": "There is no folder {folder} for the backup; make it, or name a file in another one.",
    "backup.exists": "{file} already exists and is not overwritten; name a new file, or move that one away.",
    "backup.damaged": "The database {path} is damaged ({why}), so it was not copied; restore an earlier backup.",
    "backup.unwritable": (
        "The backup {file} cannot be written ({why}); check its folder and the room on its disk, then try again."
    ),
    "database.unusable": (
        "The database {url} cannot be used ({why}); check the disk, and restore a backup if the file is damaged."
    ),
}


@dataclass(frozen=True)
class Slot:
    """A place where words are shown, and how many characters it takes at most."""

    characters: int
    good: int | None = None  # so many fit on a phone


# By how a message's key begins; the longest beginning counts. Discord docs, Application Command Structure and
# Components Reference.
SLOTS: Mapping[str, Slot] = {
    "": Slot(2000),  # a message
    "command.": Slot(100),
    "choice.": Slot(100),
    "button.": Slot(80, good=38),
    "form.title": Slot(45),
    "form.label": Slot(45),
    "form.hint": Slot(100),
    "select.": Slot(100),
}


def slot_of(key: str) -> Slot:
    """Where a message is shown."""
    return SLOTS[max((start for start in SLOTS if key.startswith(start)), key=len)]


MESSAGES: Mapping[str, str | Plural] = {**COMMANDS, **SHARED, **RUNS, **WISHES, **ADMINS, **OPERATOR}
