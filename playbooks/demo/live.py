"""The live mode: a program that posts signals and readings to the running site, as an integration would.

It runs beside the web server and knows nothing of Django: what it needs stands in the environment (`ENVIRONMENT`), and
all else goes over HTTP with a token. Now and then it tells a story that makes a play open, and says so beforehand.
It waits for a site that does not answer, slows down with the time, and goes on until it is ended.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any
from urllib.parse import urlsplit

#: The variable with a `Cast`, as JSON.
ENVIRONMENT = "CSPLAYBOOKS_DEMO_LIVE"

#: How many seconds lie between two posts, by how many seconds it has been running: busy while somebody looks on, and
#: little after that, so that a demo that is forgotten does not fill the disk. The same for stories.
POSTS = ((0, 3.0), (15 * 60, 15.0), (2 * 3600, 60.0))
STORIES = ((0, 20.0), (2 * 60, 60.0), (20 * 60, 600.0), (3 * 3600, 3600.0))
#: The most items of everyday life in one post.
MOST_ITEMS = 6
#: How long it waits after a post that failed, in seconds: twice as long each time, up to the second.
RETRY = (1.0, 30.0)
_TIMEOUT = 15.0

_EVERYDAY = {"login": 36, "feature_used": 38, "report_run": 18, "support_ticket": 5, "prompt_shown": 3}
_FEATURES = ("boards", "dashboards", "exports", "forms", "mobile", "search")


@dataclass(frozen=True)
class Cast:
    """What the live mode knows: where the site is, who its customers are, and where which story can be told.

    `accounts` are external ids for everyday life. `stories` has a line to say, an account's external id and the items
    to post, without source, id and time, each by the name of its endpoint; in the order in which they are told.
    """

    address: str
    token: str
    seed: int
    accounts: Sequence[str]
    stories: Sequence[Mapping[str, Any]]

    def as_json(self) -> str:
        """For the environment."""
        return json.dumps(vars(self))


@dataclass(frozen=True)
class Post:
    """One request to be: an endpoint with its items, and what to say before it."""

    endpoint: str
    items: Sequence[dict[str, Any]]
    line: str = ""


class Unanswered(Exception):
    """The site was not there, or did not take a post; the message says what it said."""


class Feed:
    """The posts, one after the other; the same for the same cast but for ids and times."""

    def __init__(self, cast: Cast, *, started_at: datetime) -> None:
        self._cast = cast
        self._random = Random(cast.seed)  # noqa: S311 - made-up people need no secrecy
        self._stories = iter(cast.stories)
        # Ids of an earlier start on the same database were others.
        self._prefix = f"live-{int(started_at.timestamp())}"
        self._items = 0

    def everyday(self, now: datetime) -> Post:
        """Some people at some customers do what they do all day."""
        random = self._random
        items = []
        for account in random.choices(self._cast.accounts, k=random.randint(2, MOST_ITEMS)):
            (kind,) = random.choices(list(_EVERYDAY), weights=list(_EVERYDAY.values()))
            properties = {"feature": random.choice(_FEATURES)} if kind == "feature_used" else {}
            item = {"account": account, "type": kind, "actor": f"u-{random.randint(1, 40)}", "properties": properties}
            items.append(self._item(item, now))
        return Post("signals", items)

    def story(self, now: datetime) -> list[Post]:
        """The posts of the next story; none when all are told."""
        told = next(self._stories, None)
        if told is None:
            return []
        posts = [
            Post(part["endpoint"], [self._item({"account": told["account"], **item}, now) for item in part["items"]])
            for part in told["posts"]
        ]
        return [Post(posts[0].endpoint, posts[0].items, told["line"]), *posts[1:]]

    def _item(self, item: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        self._items += 1
        return {
            "source": "product",
            "external_id": f"{self._prefix}-{self._items}",
            "occurred_at": now.isoformat(timespec="seconds"),
            **item,
        }


def every(table: Sequence[tuple[float, float]], elapsed: float) -> float:
    """The seconds to the next one, by a table of `POSTS` or `STORIES`."""
    return [gap for since, gap in table if elapsed >= since][-1]


def run(
    feed: Feed,
    send: Callable[[Post], None],
    say: Callable[[str], None],
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    now: Callable[[], datetime],
) -> None:
    """Post for ever. `clock` and `sleep` are in seconds, `now` is aware of its zone; `send` may raise Unanswered."""
    began = clock()
    next_story = began + every(STORIES, 0) / 2
    while True:
        elapsed = clock() - began
        posts = [feed.everyday(now())]
        if clock() >= next_story:
            posts += feed.story(now())
            next_story = clock() + every(STORIES, elapsed)
        for post in posts:
            if post.line:
                say(post.line)
            _insist(post, send, say, sleep)
        sleep(every(POSTS, elapsed))


def _insist(
    post: Post, send: Callable[[Post], None], say: Callable[[str], None], sleep: Callable[[float], None]
) -> None:
    """Send until it is taken: what was taken after all is a duplicate then, and does no harm."""
    wait, longest = RETRY
    failed = False
    while True:
        try:
            send(post)
        except Unanswered as error:
            if not failed:
                say(f"The live mode waits: {error}.")
            failed = True
            sleep(wait)
            wait = min(wait * 2, longest)
        else:
            if failed:
                say("The live mode goes on.")
            return


def over_http(cast: Cast) -> Callable[[Post], None]:
    """A `send` to the site of the cast."""
    base = urlsplit(cast.address)
    headers = {"Authorization": f"Token {cast.token}", "Content-Type": "application/json"}

    def send(post: Post) -> None:
        connection = http.client.HTTPConnection(base.hostname or "", base.port, timeout=_TIMEOUT)
        try:
            connection.request("POST", f"{base.path}/{post.endpoint}/", json.dumps(list(post.items)), headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unanswered(f"the site does not answer ({error})") from error
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise Unanswered(f"the site answers {answer.status} {answer.reason}")

    return send


def stories(order: Random, told: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Mapping[str, Any]]:
    """Stories of several kinds by turns, an account never twice; the kinds in an order by lot."""
    kinds = {kind: iter(some) for kind, some in told.items()}
    used: set[str] = set()
    while kinds:
        turn = list(kinds)
        order.shuffle(turn)
        for kind in turn:
            chosen = next((story for story in kinds[kind] if story["account"] not in used), None)
            if chosen is None:
                del kinds[kind]
                continue
            used.add(chosen["account"])
            yield chosen


def main() -> None:
    """What is started."""
    cast = Cast(**json.loads(os.environ.pop(ENVIRONMENT)))

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    run(
        Feed(cast, started_at=datetime.now(UTC)),
        over_http(cast),
        say,
        clock=time.monotonic,
        sleep=time.sleep,
        now=lambda: datetime.now(UTC),
    )


if __name__ == "__main__":
    main()
