"""Every model call of azureml-core 1.60, unmodified, over TLS."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tests.ml.stack import Stack


def test_register_find_download_change_delete(stack: Stack, folder: Path) -> None:
    stack.add_workspace("models")
    folder.mkdir()
    (folder / "model.pkl").write_bytes(b"MODEL" * 1000)
    (folder / "tree" / "deep").mkdir(parents=True)
    (folder / "tree" / "a.txt").write_text("a")
    (folder / "tree" / "deep" / "b.txt").write_text("b")
    got = stack.sdk(
        folder,
        "models",
        """
from pathlib import Path
tags = {"area": "iot", "type": "classification"}
first = Model.register(ws, model_path="model.pkl", model_name="best_model", tags=tags, description="d", properties={"p": "1"})
second = Model.register(ws, model_path="model.pkl", model_name="best_model")
tree = Model.register(ws, model_path="tree", model_name="tree")
ids = lambda models: [m.id for m in models]
out = {"ids": [first.id, second.id], "newest": Model(ws, "best_model").version, "by_version": Model(ws, "best_model", version=1).tags,
       "by_id": Model(ws, id="best_model:2").version, "all": ids(Model.list(ws)), "named": ids(Model.list(ws, name="best_model")),
       "latest": ids(Model.list(ws, latest=True)), "tag": ids(Model.list(ws, tags=["area"])),
       "tag_value": ids(Model.list(ws, tags=[["area", "iot"], "type"])), "tag_other": ids(Model.list(ws, tags=[["area", "x"]])),
       "property": ids(Model.list(ws, properties=[["p", "1"]]))}
path = Model(ws, "best_model", version=1).download("dl")
out["path"], out["content"] = path, Path(path).read_bytes() == Path("model.pkl").read_bytes()
tree.download("dl2")
out["tree"] = sorted(str(p.relative_to("dl2")) for p in Path("dl2").rglob("*") if p.is_file())
m = Model(ws, "best_model", version=1)
m.add_tags({"new": "tag"}); m.remove_tags(["area"]); m.add_properties({"q": "2"}); m.update(description="changed")
again = Model(ws, "best_model", version=1)
out["changed"] = [again.tags, again.properties, again.description]
m.update(tags={"only": "this"})
out["replaced"] = Model(ws, "best_model", version=1).tags
second.delete()
out["after"] = ids(Model.list(ws, name="best_model"))
third = Model.register(ws, model_path="model.pkl", model_name="best_model")
out["third"] = third.id
def failure(call):
    try: call()
    except Exception as e: return str(e)
out["missing"] = failure(lambda: Model(ws, "nothing"))
out["missing_version"] = failure(lambda: Model(ws, "best_model", version=2))
out["created"] = third.created_by
answer(out)
""",
    )
    assert got["ids"] == ["best_model:1", "best_model:2"]
    assert got["newest"] == 2
    assert got["by_version"] == {"area": "iot", "type": "classification"}
    assert got["by_id"] == 2
    assert got["all"] == ["tree:1", "best_model:2", "best_model:1"]
    assert got["named"] == ["best_model:2", "best_model:1"]
    assert got["latest"] == ["tree:1", "best_model:2"]
    assert got["tag"] == got["tag_value"] == got["property"] == ["best_model:1"]
    assert got["tag_other"] == []
    assert got["path"] == "dl/model.pkl"
    assert got["content"]
    assert got["tree"] == ["tree/a.txt", "tree/deep/b.txt"]
    assert got["changed"] == [{"type": "classification", "new": "tag"}, {"p": "1", "q": "2"}, "changed"]
    assert got["replaced"] == {"only": "this"}
    assert got["after"] == ["best_model:1"]
    assert got["third"] == "best_model:3"
    assert "ModelNotFound" in got["missing"]
    assert "ModelNotFound" in got["missing_version"]
    assert got["created"]["userObjectId"] == stack.tokens.object_id


def test_lists_longer_than_a_page_are_followed(stack: Stack, folder: Path) -> None:
    workspace = stack.add_workspace("pages")
    root = f"/modelmanagement/v1.0{workspace}"
    with stack.authorised() as http:
        asset = http.post(f"{root}/assets", json={"name": "m", "artifacts": [{"prefix": "LocalUpload/c/m"}]}).json()
        for number in range(45):
            body = {"name": f"m{number % 3}", "url": f"aml://asset/{asset['id']}", "mimeType": "application/json"}
            assert http.post(f"{root}/models", json=body).status_code == 200
        page = http.get(f"{root}/models", params={"count": 20}).json()
        assert len(page["value"]) == 20
        assert page["nextLink"].startswith(stack.instance.arm_url)
        last = http.get(http.get(page["nextLink"]).json()["nextLink"]).json()
        assert len(last["value"]) == 5
        assert "nextLink" not in last
    got = stack.sdk(
        folder,
        "pages",
        "answer([len(Model.list(ws, page_count=20)), len(Model.list(ws, name='m1', page_count=20)), Model(ws, 'm2').version])",
    )
    assert got == [45, 15, 15]


def test_a_model_of_many_blocks_is_streamed(stack: Stack, folder: Path) -> None:
    """72 MiB in blocks of 4 MiB: the service, which lives in this process, must not hold it."""
    stack.add_workspace("big")
    folder.mkdir()
    digest = hashlib.sha256()
    with (folder / "big.bin").open("wb") as file:
        for _ in range(72):
            piece = os.urandom(2**20)
            digest.update(piece)
            file.write(piece)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    before = _memory("VmRSS")
    got = stack.sdk(
        folder,
        "big",
        """
import hashlib
m = Model.register(ws, model_path="big.bin", model_name="big")
answer([m.id, hashlib.sha256(open(m.download("dl"), "rb").read()).hexdigest()])
""",
    )
    assert got == ["big:1", digest.hexdigest()]
    assert _memory("VmHWM") - before < 32 * 2**10


def _memory(key: str) -> int:
    """In KiB."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[key].split()[0])
