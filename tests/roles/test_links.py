"""No page offers a link that its reader may not open."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from csplaybooks.accounts.models import Change, TeamMember
from csplaybooks.admin_base import link_to
from csplaybooks.playbooks.models import Match, Run
from csplaybooks.signals.models import Reading, Signal
from tests.admin.pages import url
from tests.admin.rows import MODELS
from tests.roles.scene import ANY, Scene

pytestmark = pytest.mark.django_db

_HREF = re.compile(r'<a\b[^>]*?\bhref="([^"#]+)"')

#: Leads out of the admin, or ends the visit.
_NOT_WALKED = ("/logout/", "/password_change/", "/jsi18n/")


@pytest.fixture
def scene() -> Scene:
    """One of everything, and what runs write on rows of other tables."""
    scene = Scene()
    run = Run.objects.latest("pk")
    Change.objects.update(seen_by_run=run.pk)
    return scene


def links_on(client: Client, address: str) -> set[str]:
    """The addresses that a page leads to, by path and query; none where it is not shown."""
    response = client.get(address)
    if response.status_code != 200:
        return set()
    found = {urljoin(address, unescape(href)) for href in _HREF.findall(response.content.decode())}
    return {link for link in found if urlsplit(link).path.startswith("/admin/") and not link_ends(link)}


def link_ends(link: str) -> bool:
    return any(part in link for part in _NOT_WALKED)


def shape(link: str) -> tuple[str, str]:
    """What a right to look is asked for: the page and the names in its query, whichever the row and the value."""
    path, query = urlsplit(link).path, urlsplit(link).query
    return re.sub(r"/[^/]+/(change|history|delete)/$", r"/\1/", path), " ".join(sorted(parse_qs(query)))


@pytest.mark.parametrize("who", ["csm", "ae", "manager", "integrations"])
def test_every_link_opens(scene, who):
    """One row of each table that the reader has in sight, and one link of each shape."""
    client = Client()
    client.force_login(scene.user(who))
    pages = {url(model, "changelist") for model in MODELS}
    pages |= {url(model, "change", (rows.get("own") or rows[ANY]).pk) for model, rows in scene.rows.items()}
    offered = {page: links for page in sorted(pages) if (links := links_on(client, page))}
    assert len(offered) > len(MODELS) / 2
    # The sorting and filtering of a list is the list again, and what was walked has been answered.
    walked = {shape(page)[0] for page in offered}
    targets = {shape(link): link for links in offered.values() for link in links if shape(link)[0] not in walked}
    refused = {kind for kind, link in targets.items() if client.get(link).status_code == 403}
    assert {page for page, links in offered.items() if refused & {shape(link) for link in links}} == set()


def test_what_may_be_opened_is_still_a_link(scene):
    """A superuser finds the links that the others do not."""
    client, csm = Client(), Client()
    client.force_login(get_user_model().objects.create_superuser("root"))
    csm.force_login(scene.user("csm"))
    mine = {
        Match: url(Run, "change", scene.rows[Match]["own"].opened_run_id),
        TeamMember: url(get_user_model(), "change", scene.members["csm"].user_id),
    }
    pages = {
        Match: url(Match, "change", scene.rows[Match]["own"].pk),
        TeamMember: url(TeamMember, "change", scene.members["csm"].pk),
    }
    for model, page in pages.items():
        assert mine[model] in links_on(client, page)
        assert mine[model] not in links_on(csm, page)


@pytest.mark.parametrize("model", [Signal, Reading])
def test_a_batch_is_text_to_whoever_may_not_look_at_batches(scene, model):
    csm = Client()
    csm.force_login(scene.user("csm"))
    page = url(model, "change", scene.rows[model]["own"].pk)
    assert csm.get(page).status_code == 200
    assert not [link for link in links_on(csm, page) if "/intakebatch/" in link]


def test_outside_of_a_page_a_link_is_a_link(scene):
    row: Any = scene.rows[Match]["own"]
    csm = Client()
    csm.force_login(scene.user("csm"))
    csm.get(url(Match, "changelist"))
    assert str(link_to(Run.objects.latest("pk"))).startswith("<a href=")
    assert "<a href=" in str(link_to(row))
