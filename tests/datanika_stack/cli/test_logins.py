"""The file that keeps logins."""

import stat

from datanika_stack.cli.logins import Login, LoginFile

LOGIN = Login("a@b.example", "access", "refresh", "acme")


def test_only_its_owner_can_read_it(tmp_path):
    logins = LoginFile(tmp_path / "config" / "logins.json")
    logins.save("http://one", LOGIN)
    assert stat.S_IMODE(logins.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(logins.path.parent.stat().st_mode) == 0o700
    assert list(logins.path.parent.iterdir()) == [logins.path]


def test_one_login_per_control_plane(tmp_path):
    logins = LoginFile(tmp_path / "logins.json")
    assert logins.find("http://one") is None
    assert logins.latest_url() is None
    logins.save("http://one", LOGIN)
    logins.save("http://two", LOGIN)
    assert logins.find("http://one") == LOGIN
    assert logins.latest_url() == "http://two"


def test_remove(tmp_path):
    logins = LoginFile(tmp_path / "logins.json")
    logins.save("http://one", LOGIN)
    logins.save("http://two", LOGIN)
    assert logins.remove("http://two")
    assert not logins.remove("http://two")
    assert logins.latest_url() == "http://one"


def test_default_place_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert LoginFile().path == tmp_path / "datanika" / "logins.json"
