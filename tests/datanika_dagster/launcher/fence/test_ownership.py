"""Root gives directories away without being led elsewhere by what tenants put there."""

import os
import shutil

import pytest

from datanika_dagster.launcher import work_directories
from datanika_dagster.launcher.fence import Principal, Surroundings, ownership

TENANT = (1000003, 1000002)
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="NOT TESTED: only root gives directories to others"
)


@pytest.fixture
def foreign(tmp_path):
    """A file and a directory of root's that nobody may be given."""
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "file").write_text("root's")
    return tmp_path / "foreign"


def owner(path):
    return path.lstat().st_uid


def test_a_working_directory_becomes_the_childs_alone(tmp_path):
    directory = tmp_path / "job"
    directory.mkdir(mode=0o755)
    ownership.give_fresh(directory, TENANT)
    for path in (directory, directory / "tmp"):
        assert (path.stat().st_uid, path.stat().st_gid) == TENANT
        assert path.stat().st_mode & 0o777 == 0o700


def test_a_link_in_place_of_a_directory_is_refused(rooted, foreign):
    link = rooted.home / "work" / "job_link"
    link.symlink_to(foreign)
    with pytest.raises(NotADirectoryError):
        rooted.fence.prepare(Principal(1, "job"), Surroundings(link))
    with pytest.raises(NotADirectoryError):
        ownership.give(link, TENANT)
    assert owner(foreign) == 0


def test_a_link_in_place_of_tmp_is_refused(tmp_path, foreign):
    directory = tmp_path / "job"
    directory.mkdir()
    (directory / "tmp").symlink_to(foreign)
    with pytest.raises(NotADirectoryError):
        ownership.give_fresh(directory, TENANT)
    assert owner(foreign) == 0


def test_an_orgs_directory_goes_with_what_is_in_it_once(tmp_path, foreign):
    directory = tmp_path / "tenant_1"
    (directory / "project").mkdir(parents=True)
    (directory / "project" / "model.sql").write_text("select 1")
    (directory / "project" / "link").symlink_to(foreign)
    ownership.give(directory, TENANT)
    assert directory.stat().st_mode & 0o777 == 0o750
    given = (directory, directory / "project", directory / "project" / "model.sql")
    assert [owner(path) for path in given] == [TENANT[0]] * 3
    assert owner(foreign) == owner(foreign / "file") == 0
    os.link(foreign / "file", directory / "hard")  # as a tenant might if the kernel let it
    ownership.give(directory, TENANT)
    assert owner(foreign / "file") == 0


def test_what_is_ours_to_read_is_opened_to_the_group_alone(tmp_path, foreign):
    directory = tmp_path / "tenant_1"
    directory.mkdir(mode=0o700)
    (directory / "model.sql").write_text("select 1")
    (directory / "model.sql").chmod(0o600)
    (directory / "link").symlink_to(foreign / "file")
    ownership.share(directory, TENANT[1])
    assert directory.stat().st_mode & 0o777 == 0o750
    assert (directory / "model.sql").stat().st_mode & 0o777 == 0o640
    for path in (directory, directory / "model.sql"):
        assert (path.stat().st_uid, path.stat().st_gid) == (0, TENANT[1])
    assert (foreign / "file").stat().st_gid == 0


def test_a_shared_tree_that_tenants_own_is_left_alone(tmp_path, foreign):
    directory = tmp_path / "tenant_1"
    directory.mkdir()
    ownership.give(directory, TENANT)
    os.link(foreign / "file", directory / "hard")
    ownership.share(directory, TENANT[1])
    assert (foreign / "file").stat().st_gid == 0


def test_removing_what_a_tenant_left_follows_no_link(tmp_path, foreign):
    directory = tmp_path / "job"
    directory.mkdir()
    (directory / "deep").mkdir()
    (directory / "deep" / "link").symlink_to(foreign, target_is_directory=True)
    os.link(foreign / "file", directory / "hard")
    assert shutil.rmtree.avoids_symlink_attacks
    shutil.rmtree(directory)
    assert (foreign / "file").read_text() == "root's"


class TestSweeping:
    """The note of the owner lies in a directory that its tenant may write to."""

    @pytest.mark.parametrize("planted", ["link", "pipe", "directory", "garbage", "huge"])
    def test_a_planted_note_neither_blocks_nor_breaks_it(self, tmp_path, foreign, planted):
        directory = tmp_path / "job_planted"
        directory.mkdir()
        note = directory / work_directories.OWNER
        if planted == "link":
            note.symlink_to(foreign / "file")
        elif planted == "pipe":
            os.mkfifo(note)
        elif planted == "directory":
            note.mkdir()
        else:
            note.write_text("{}" if planted == "garbage" else "x" * 10_000_000)
        os.utime(directory, (0, 0))
        work_directories.sweep(tmp_path)
        assert not directory.exists()
        assert (foreign / "file").read_text() == "root's"
