from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_folder_of_its_log_is_gone_at_the_end_without_a_word() -> None:
    code = (
        "from edgegan.compress.quantize.calibrate import neural_compressor\n"
        "print(neural_compressor._LOGS.name)"
    )
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    assert not Path(ran.stdout.strip()).exists()
