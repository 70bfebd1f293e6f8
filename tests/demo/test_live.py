"""The live mode: what it posts, how fast, and that it waits for a site that is not there."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from random import Random
from typing import Any

import pytest

from csplaybooks.playbooks.demo.live import (
    MOST_ITEMS,
    POSTS,
    RETRY,
    Cast,
    Feed,
    Post,
    Unanswered,
    over_http,
    run,
    stories,
)

NOW = datetime(2026, 11, 16, 10, 0, tzinfo=UTC)


def story(account: str, *endpoints: str) -> dict[str, Any]:
    """A story with a post to each endpoint."""
    posts = [{"endpoint": endpoint, "items": [{"type": "login"}]} for endpoint in endpoints or ("signals",)]
    return {"account": account, "line": f"{account} does something: Its playbook.", "posts": posts}


def cast(*told: dict[str, Any], address: str = "http://127.0.0.1:1/api/v1") -> Cast:
    """A cast of three customers."""
    return Cast(address=address, token="secret", seed=3, accounts=["ash", "birch", "cedar"], stories=told)


class Ended(Exception):
    """The time that the test looks at is over."""


class World:
    """A clock that only `sleep` moves on, a site that may be away, and everything that happened."""

    def __init__(self, *, seconds: float) -> None:
        self.seconds = seconds
        self.clock = 0.0
        self.away = False
        self.log: list[tuple[float, str, Post | None]] = []

    def sleep(self, seconds: float) -> None:
        self.clock += seconds
        if self.clock > self.seconds:
            raise Ended

    def say(self, line: str) -> None:
        self.log.append((self.clock, line, None))

    def send(self, post: Post) -> None:
        if self.away:
            raise Unanswered("the site does not answer (refused)")
        self.log.append((self.clock, "", post))

    @property
    def posts(self) -> list[tuple[float, Post]]:
        return [(at, post) for at, _, post in self.log if post is not None]

    @property
    def said(self) -> list[str]:
        return [line for _, line, post in self.log if post is None]

    def live(self, feed: Feed) -> None:
        with pytest.raises(Ended):
            run(
                feed,
                self.send,
                self.say,
                clock=lambda: self.clock,
                sleep=self.sleep,
                now=lambda: NOW + timedelta(seconds=self.clock),
            )


def told(posts: list[tuple[float, Post]]) -> list[Any]:
    """What was posted, without ids."""
    return [
        (at, post.endpoint, [{key: item[key] for key in item if key != "external_id"} for item in post.items])
        for at, post in posts
    ]


def test_the_same_cast_posts_the_same_and_its_ids_are_its_own() -> None:
    first, second = World(seconds=300), World(seconds=300)
    one, other = cast(story("ash"), story("birch")), cast(story("ash"), story("birch"))

    first.live(Feed(one, started_at=NOW))
    second.live(Feed(other, started_at=NOW + timedelta(hours=1)))

    assert told(first.posts) == told(second.posts)
    ids = [item["external_id"] for world in (first, second) for _, post in world.posts for item in post.items]
    assert len(ids) == len(set(ids)) > 200
    assert {item["account"] for _, post in first.posts for item in post.items} == {"ash", "birch", "cedar"}
    assert all(item["occurred_at"].endswith("+00:00") for _, post in first.posts for item in post.items)


def test_stories_are_told_within_the_first_minute_each_after_its_line() -> None:
    world = World(seconds=60)

    world.live(Feed(cast(story("ash", "readings", "signals"), story("birch")), started_at=NOW))

    assert world.said == ["ash does something: Its playbook.", "birch does something: Its playbook."]
    place = next(place for place, (_, line, _) in enumerate(world.log) if line.startswith("ash"))
    following = [post.endpoint for _, _, post in world.log[place + 1 : place + 3] if post is not None]
    assert following == ["readings", "signals"]


def test_it_slows_down_so_that_a_forgotten_demo_does_not_fill_the_disk() -> None:
    world = World(seconds=10 * 3600)

    world.live(Feed(cast(*(story(f"s-{number}") for number in range(500))), started_at=NOW))

    by_hour = [sum(len(post.items) for at, post in world.posts if at // 3600 == hour) for hour in range(10)]
    assert by_hour[0] <= 3600 / POSTS[0][1] * MOST_ITEMS
    assert all(items < 400 for items in by_hour[3:])
    assert all(items > 0 for items in by_hour)
    assert len(world.said) < 60


def test_it_waits_for_a_site_that_is_away_and_loses_nothing() -> None:
    world = World(seconds=600)
    feed = Feed(cast(), started_at=NOW)
    waits: list[float] = []
    sleep = world.sleep

    def sleep_and_come_back(seconds: float) -> None:
        if world.away:
            waits.append(seconds)
            world.away = len(waits) < 8
        elif not waits and world.clock > 30:
            world.away = True
        sleep(seconds)

    world.sleep = sleep_and_come_back  # type: ignore[method-assign]  # of this one world
    world.live(feed)

    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert max(waits) == RETRY[1]
    assert world.said == ["The live mode waits: the site does not answer (refused).", "The live mode goes on."]
    numbers = [int(item["external_id"].rpartition("-")[2]) for _, post in world.posts for item in post.items]
    assert numbers == list(range(1, len(numbers) + 1))


class _Site(BaseHTTPRequestHandler):
    """Takes everything that comes with the right token, and keeps it."""

    taken: list[tuple[str, Any]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Authorization"] != "Token secret":
            self.send_error(401)
            return
        self.taken.append((self.path, json.loads(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is said."""


@contextmanager
def site(port: int) -> Iterator[None]:
    """A site that listens at `port` while it lasts."""
    server = HTTPServer(("127.0.0.1", port), _Site)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_posts_go_over_http_to_a_site_that_may_be_restarted() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    _Site.taken.clear()
    known = cast(address=f"http://127.0.0.1:{port}/api/v1")
    send = over_http(known)
    post = Post("signals", [{"type": "login"}])

    with pytest.raises(Unanswered, match="does not answer"):
        send(post)
    with site(port):
        send(post)
    with pytest.raises(Unanswered, match="does not answer"):
        send(post)
    with site(port):
        send(post)
        with pytest.raises(Unanswered, match="answers 401 Unauthorized"):
            over_http(Cast(**{**vars(known), "token": "old"}))(post)

    assert _Site.taken == [("/api/v1/signals/", [{"type": "login"}])] * 2


def test_kinds_of_stories_take_turns_and_no_customer_is_in_two() -> None:
    of_kind = {
        "a": [story("a-1"), story("a-2"), story("a-3")],
        "b": [story("b-1"), story("a-1"), story("a-2"), story("b-2")],
        "c": [],
    }

    order = [one["account"] for one in stories(Random(1), of_kind)]

    assert sorted(order) == ["a-1", "a-2", "a-3", "b-1", "b-2"]
    assert [sorted(name[0] for name in order[place : place + 2]) for place in (0, 2)] == [["a", "b"]] * 2
    assert order == [one["account"] for one in stories(Random(1), of_kind)]
