"""ACR's admin user: two passwords, disabled, regenerated; over Basic and over tokens."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from urllib.request import parse_http_list, parse_keqv_list

import jwt
import pytest
import requests

from localazure.registry import tokens
from tests.registry.support import NAME, Setting, client_of, push_blob, push_image, service, with_registry


def test_both_passwords_open_it_and_nothing_else_does(tmp_path: Path) -> None:
    async def body(setting: Setting) -> None:
        first, second = setting.registries.passwords(NAME)
        assert first != second
        assert await setting.get("/v2/", first) == 200
        assert await setting.get("/v2/_catalog", second) == 200
        assert await setting.get("/v2/", "wrong") == 401
        assert await setting.get("/v2/", "") == 401
        assert await setting.get("/v2/", first, user="someone") == 401
        assert (await setting.client.get(f"{setting.url}/v2/")).status_code == 401
        garbage = await setting.client.get(f"{setting.url}/v2/", headers={"Authorization": "Basic %%%"})
        assert garbage.status_code == 401

    with_registry(tmp_path, body)


def test_a_new_registry_lets_nobody_in(tmp_path: Path) -> None:
    async def body(setting: Setting) -> None:
        await setting.registries.create("Fabrikam02")
        assert setting.registries.admin_enabled("fabrikam02") is False
        password, _ = setting.registries.passwords("fabrikam02")
        url = f"https://{setting.registries.login_server('Fabrikam02')}/v2/"
        assert (await setting.client.get(url, auth=("Fabrikam02", password))).status_code == 401
        setting.registries.set_admin("fabrikam02", True)
        assert (await setting.client.get(url, auth=("Fabrikam02", password))).status_code == 200
        # A registry's password is good for that registry only.
        assert (await setting.client.get(f"{setting.url}/v2/", auth=("Fabrikam02", password))).status_code == 401

    with_registry(tmp_path, body)


def test_regenerating_one_password_ends_it_and_its_tokens_at_once(tmp_path: Path) -> None:
    async def body(setting: Setting) -> None:
        first, second = setting.registries.passwords(NAME)
        bearers = [await setting.token(password, "registry:catalog:*") for password in (first, second)]

        async def with_tokens() -> list[int]:
            headers = [{"Authorization": f"Bearer {token}"} for token in bearers]
            return [
                (await setting.client.get(f"{setting.url}/v2/_catalog", headers=header)).status_code
                for header in headers
            ]

        assert await with_tokens() == [200, 200]
        await setting.registries.regenerate(NAME, "password2")
        assert await setting.get("/v2/", second) == 401
        assert await setting.get("/v2/", first) == 200
        assert await with_tokens() == [200, 401]
        renewed = setting.registries.passwords(NAME)
        assert renewed[0] == first
        assert await setting.get("/v2/", renewed[1]) == 200
        with pytest.raises(ValueError, match="password3"):
            await setting.registries.regenerate(NAME, "password3")

    with_registry(tmp_path, body)


def test_disabling_the_admin_user_shuts_everybody_out_at_once(tmp_path: Path) -> None:
    async def body(setting: Setting) -> None:
        password, _ = setting.registries.passwords(NAME)
        bearer = {"Authorization": f"Bearer {await setting.token(password)}"}
        setting.registries.set_admin(NAME, False)
        assert await setting.get("/v2/", password) == 401
        assert (await setting.client.get(f"{setting.url}/v2/", headers=bearer)).status_code == 401
        refused = await setting.client.get(
            f"{setting.url}/oauth2/token", params={"service": setting.login_server}, auth=(NAME, password)
        )
        assert refused.status_code == 401
        setting.registries.set_admin(NAME, True)
        assert await setting.get("/v2/", password) == 200

    with_registry(tmp_path, body)


def test_the_challenge_leads_to_a_token_that_opens_the_door(tmp_path: Path) -> None:
    """As a client does it: take realm, service and scope from the 401, ask there, come again."""

    async def body(setting: Setting) -> None:
        password, _ = setting.registries.passwords(NAME)
        await push_image(setting, "team/model", "1", (NAME, password))
        url = f"{setting.url}/v2/team/model/manifests/1"
        refused = await setting.client.get(url)
        assert refused.status_code == 401
        assert refused.json()["errors"][0]["detail"] == [{"Type": "repository", "Name": "team/model", "Action": "pull"}]
        scheme, _, rest = refused.headers["www-authenticate"].partition(" ")
        challenge = parse_keqv_list(parse_http_list(rest))
        assert scheme == "Bearer"
        assert challenge["scope"] == "repository:team/model:pull"
        query = {"service": challenge["service"], "scope": challenge["scope"]}
        answer = await setting.client.get(challenge["realm"], params=query, auth=(NAME, password))
        bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
        assert (await setting.client.get(url, headers={**bearer, **accept})).status_code == 200
        # The token is for pulling from that repository, not for more.
        other = await setting.client.get(f"{setting.url}/v2/team/other/tags/list", headers=bearer)
        push = await setting.client.post(f"{setting.url}/v2/team/model/blobs/uploads/", headers=bearer)
        assert (other.status_code, push.status_code) == (401, 401)

    with_registry(tmp_path, body)


def test_the_password_grant(tmp_path: Path) -> None:
    async def body(setting: Setting) -> None:
        password, _ = setting.registries.passwords(NAME)
        form = {
            "grant_type": "password",
            "service": setting.login_server,
            "scope": "repository:a/b:pull,push",
            "username": NAME,
            "password": password,
        }
        url = f"{setting.url}/oauth2/token"
        answer = await setting.client.post(url, data=form)
        claims = jwt.decode(answer.json()["access_token"], options={"verify_signature": False})
        assert claims["access"] == [{"type": "repository", "name": "a/b", "actions": ["pull", "push"]}]
        assert claims["aud"] == setting.login_server
        assert (await setting.client.post(url, data={**form, "password": "wrong"})).status_code == 401
        assert (await setting.client.post(url, data={**form, "service": "other"})).status_code == 400
        assert (await setting.client.post(url, data={**form, "grant_type": "refresh_token"})).status_code == 400

    with_registry(tmp_path, body)


def test_a_token_of_another_registry_is_worth_nothing(tmp_path: Path) -> None:
    async def body(setting: Setting) -> None:
        await setting.registries.create("Fabrikam02")
        setting.registries.set_admin("Fabrikam02", True)
        password, _ = setting.registries.passwords(NAME)
        bearer = {"Authorization": f"Bearer {await setting.token(password)}"}
        url = f"https://{setting.registries.login_server('Fabrikam02')}/v2/"
        assert (await setting.client.get(url, headers=bearer)).status_code == 401

    with_registry(tmp_path, body)


def test_an_entra_token_is_no_registry_token(tmp_path: Path) -> None:
    async def body(setting: Setting) -> None:
        claims = {"aud": setting.login_server, "serial": "x", "access": [], "exp": 2**31}
        forged = jwt.encode(claims, setting.instance.signing_key, algorithm="HS256")
        assert tokens.read(setting.instance.signing_key, setting.login_server, forged) is None
        bearer = {"Authorization": f"Bearer {forged}"}
        assert (await setting.client.get(f"{setting.url}/v2/", headers=bearer)).status_code == 401

    with_registry(tmp_path, body)


def test_what_is_no_text_is_refused_and_not_an_error(tmp_path: Path) -> None:
    async def body(setting: Setting) -> None:
        first, _ = setting.registries.passwords(NAME)
        good = b"Basic " + base64.b64encode(f"{NAME}:{first}".encode())
        for header in (b"Basic \xff\xfe==", b"Basic " + base64.b64encode(b"\xff:\xff"), b"Bearer \xff", b"\xff"):
            answer = await setting.client.get(f"{setting.url}/v2/", headers={b"Authorization": header})
            assert answer.status_code == 401, header
        for path in (
            "/v2/%ff%fe/tags/list",
            "/v2/%E2%82%AC/tags/list",
            "/v2/a%22b/tags/list",
        ):
            refused = await setting.client.get(f"{setting.url}{path}")
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].isascii()
            assert refused.headers["www-authenticate"].count('"') == 6
            assert (await setting.client.get(f"{setting.url}{path}", headers={b"Authorization": good})).status_code in (
                400,
                404,
            )

    with_registry(tmp_path / "azure", body)


def test_what_is_not_here_says_so(tmp_path: Path) -> None:
    async def body(setting: Setting) -> None:
        for method, path in (
            ("POST", "/oauth2/exchange"),
            ("GET", "/acr/v1/_catalog"),
            ("PATCH", "/acr/v1/app/_tags/one"),
        ):
            answer = await setting.client.request(method, f"{setting.url}{path}")
            assert (answer.status_code, path in answer.json()["errors"][0]["message"]) == (501, True)
        assert (await setting.client.get(f"{setting.url}/v3/")).status_code == 404

    with_registry(tmp_path / "azure", body)


def test_requests_with_basic_reads_digests_and_deletes(tmp_path: Path) -> None:
    """What the program's registry client does: HEAD for the digest, DELETE by digest, then 404."""

    async def body(setting: Setting) -> None:
        auth = (NAME, setting.registries.passwords(NAME)[1])
        digest = await push_image(setting, "anomaly", "v1", auth)
        url = f"{setting.url}/v2/anomaly/manifests"

        def client() -> list[tuple[int, str | None]]:
            session = requests.Session()
            session.auth, session.verify, session.trust_env = auth, str(setting.instance.ca), False
            accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
            head = session.head(f"{url}/v1", headers=accept, timeout=120)
            gone = session.delete(f"{url}/{digest}", timeout=120)
            after = session.head(f"{url}/v1", headers=accept, timeout=120)
            return [
                (head.status_code, head.headers.get("Docker-Content-Digest")),
                (gone.status_code, None),
                (after.status_code, None),
            ]

        assert await asyncio.to_thread(client) == [(200, digest), (202, None), (404, None)]

    with_registry(tmp_path, body)


def test_large_blobs_come_back_whole(tmp_path: Path) -> None:
    async def body(setting: Setting) -> None:
        auth = (NAME, setting.registries.passwords(NAME)[0])
        content = bytes(range(256)) * (24 * 4096)  # 24 MiB
        digest = await push_blob(setting, "big", content, auth)
        found = await setting.client.get(f"{setting.url}/v2/big/blobs/{digest}", auth=auth)
        assert found.content == content
        part = await setting.client.get(
            f"{setting.url}/v2/big/blobs/{digest}", auth=auth, headers={"Range": "bytes=256-511"}
        )
        assert (part.status_code, part.content) == (206, bytes(range(256)))

    with_registry(tmp_path, body)


def test_names_outside_acr_s_rule_are_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path) as (instance, registries), client_of(instance):
            for name in ("abcd", "../../etc", "with-dash", "x" * 51, "ünicode1"):
                with pytest.raises(ValueError, match="5 to 50 letters and digits"):
                    await registries.create(name)
            with pytest.raises(KeyError, match="nobody01"):
                registries.passwords("nobody01")

    asyncio.run(run())
