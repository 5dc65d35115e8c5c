"""Places: where a public function looks for what it is asked about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from zoo.errors import StorageError, describe
from zoo.registry.entries import Plugins, Registry, choose_registry
from zoo.storage import folders

Folder = str | Path | None


@dataclass(frozen=True, kw_only=True)
class Places:
    """The registry, the folders of data and runs, and whether the network is off limits.

    The folders are found when they are asked for: a function that needs one of them does not fail for the other.
    Asking raises SettingError where what was given for it, or what the environment says, is no folder's path.
    """

    registry: Registry
    offline: bool
    given_data_dir: Folder = None
    given_runs_dir: Folder = None

    @property
    def data_dir(self) -> Path:
        """The folder of the data sets."""
        return folders.data_dir(self.given_data_dir)

    @property
    def own_data_dir(self) -> Path | None:
        """The folder of the data sets where it is another one than whoever gives none has."""
        return None if self.data_dir.absolute() == folders.data_dir().absolute() else self.data_dir

    @property
    def runs_dir(self) -> Path:
        """The folder of the runs."""
        return folders.runs_dir(self.given_runs_dir)

    def settle(self) -> Places:
        """Return the places with absolute folders, so that no change of the current folder moves them.

        Raise SettingError as the folders do, StorageError where the current folder is gone.
        """
        try:
            runs, data = self.runs_dir.absolute(), self.data_dir.absolute()
        except OSError as error:
            raise StorageError("the current folder cannot be found", describe(error), "Go to another one") from error
        return replace(self, given_runs_dir=runs, given_data_dir=data)


def open_places(
    registry: Registry | None = None,
    plugins: Plugins = (),
    *,
    data_dir: Folder = None,
    runs_dir: Folder = None,
    offline: bool | None = None,
) -> Places:
    """Return the places that the arguments of a public function mean; what is not given comes from the environment.

    Raises:
        UsageError: a registry and plugins were both given, or a plugin cannot be used.
        SettingError: the environment says something unclear about the network.
    """
    chosen, offline = choose_registry(registry, plugins), folders.offline(offline)
    return Places(registry=chosen, offline=offline, given_data_dir=data_dir, given_runs_dir=runs_dir)
