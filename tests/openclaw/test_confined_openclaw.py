"""The real OpenClaw, confined: its tools work, on its own files and on nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.machine.rig import until
from tests.openclaw.fakes import ToolModel, run_tool_model
from tests.openclaw.machines import run_stage

pytestmark = [pytest.mark.openclaw, pytest.mark.timeout(900)]

PERSON = 4242
ANSWER_S = 180.0


async def test_its_tools_work_on_what_is_its_own(openclaw: Path, tmp_path: Path) -> None:
    token = tmp_path / "run" / "agent.token"
    model = ToolModel(
        ("write", {"path": "letter.md", "content": "a letter\n"}),
        ("exec", {"command": f"tr a-z A-Z < letter.md > shouted.md; cat {token} 2>&1; ls /proc"}),
    )
    async with (
        run_tool_model(model) as port,
        run_stage(tmp_path, openclaw, model=port, is_open=True) as stage,
    ):
        (confined,) = stage.machine.events("agent.confined")
        assert confined["kind"] != "none"
        await stage.telegram.write(PERSON, "please write it and shout it")
        await until(
            lambda: any(ToolModel.DONE in text for text in stage.telegram.said_to(PERSON)),
            "its answer",
            ANSWER_S,
        )
        assert (tmp_path / "agent/workspace/shouted.md").read_text() == "A LETTER\n"
        assert "No such file or directory" in model.told or "Permission denied" in model.told
        assert token.read_text().strip() not in model.told
        assert (await stage.machine.status())["restarts"] == 0
