"""Part: which of the cells of a matrix are done here, where several jobs do a part each."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from zoo.errors import SettingError

log = logging.getLogger("zoo")


def find_part(part: str | None, environment: Mapping[str, str]) -> tuple[int, int]:
    """Return which of how many parts is meant, `2/8`, else the one of this task of a SLURM array, else `(1, 1)`.

    Raises:
        SettingError: there is no such part.
    """
    if part is not None:
        match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", part.strip())
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise SettingError("part", "expected a part and their number, 2/8 say", part)
        return int(match[1]), int(match[2])
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP")
    task, count, first, step = (environment.get(name, "") for name in names)
    if not task.isdecimal() or not count.isdecimal():
        return 1, 1
    tasks, rest = divmod(int(task) - int(first or 0), max(1, int(step or 1)))
    if rest or not 0 <= tasks < int(count):
        fix = "Number the tasks of the array one after the other, or say part='2/8'"
        raise SettingError("part", f"task {task} of a SLURM array of {count} has no place in it", fix=fix)
    log.info("part %d of %d, as SLURM says", tasks + 1, int(count))
    return tasks + 1, int(count)
