"""Modbus/TCP Security between our client and our device: roles, refusals, whose fault is what."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldrig import Rig, modbus
from fieldrig.bench import BenchPlan
from fieldrig.errors import ExceptionAnswer, PortError, PortLost, Untrusted, UsageError
from fieldrig.suites.modbus_server.secure.pki import PAST, Identity, Pki, role
from tests import needs

RULES = {"Operator": {"functions": [3, 6], "holding": [[0, 99]]}, "Engineer": "all", "": [4]}


class Works:
    """A CA, a device and clients."""

    def __init__(self, folder: Path) -> None:
        needs.program("openssl")
        self.pki = Pki(folder)
        self.ca = self.pki.authority("works")
        self.device = self.pki.identity("device", self.ca)

    def client(self, name: str, *extensions: str) -> Identity:
        return self.pki.identity(name, self.ca, extensions=extensions)

    def query(self, identity: Identity) -> str:
        return f"ca={self.ca.cert}&cert={identity.cert}&key={identity.key}"


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Works:
    return Works(tmp_path_factory.mktemp("works"))


@pytest.fixture
def device(works: Works) -> Iterator[modbus.Device]:
    url = f"tls://127.0.0.1:0?{works.query(works.device)}"
    with modbus.Device(url, holding={0: list(range(300))}, input={0: [7]}, roles=RULES) as device:
        yield device


def test_a_role_may_do_what_the_rules_say(works: Works, device: modbus.Device) -> None:
    operator = works.client("operator", role("Operator"))
    with modbus.Client(f"{device.url}?{works.query(operator)}") as client:
        assert client.read_holding(98, 2).values == (98, 99)
        for address, count in ((99, 2), (100, 1)):
            with pytest.raises(ExceptionAnswer) as refused:
                client.read_holding(address, count)
            assert refused.value.code == 1
        with pytest.raises(ExceptionAnswer):
            client.write_coil(0, True)
        client.write_register(5, 55)
        assert client.read_holding(5).values == (55,), "the connection stayed"


@pytest.mark.parametrize(
    ("name", "extensions"),
    [
        ("nobody", ()),
        ("printable", (role("Operator", "PrintableString"),)),
        ("ia5", (role("Operator", "IA5String"),)),
        ("comma", (role("Operator,Engineer"),)),
    ],
)
def test_what_is_no_role_of_the_rules_is_none(
    name: str, extensions: tuple[str, ...], works: Works, device: modbus.Device
) -> None:
    with modbus.Client(f"{device.url}?{works.query(works.client(name, *extensions))}") as client:
        with pytest.raises(ExceptionAnswer) as refused:
            client.read_holding(0)
        assert refused.value.code == 1
        if name != "comma":
            assert client.read_input(0).values == (7,), "the NULL role may do this"


def test_two_roles_are_the_null_role(works: Works, device: modbus.Device) -> None:
    both = works.pki.with_two_roles("both", works.ca, "Operator", "Engineer")
    with modbus.Client(f"{device.url}?{works.query(both)}") as client:
        with pytest.raises(ExceptionAnswer):
            client.read_holding(0)
        assert client.read_input(0).values == (7,)


def test_a_device_that_refuses_us_says_why(works: Works, device: modbus.Device) -> None:
    with (
        modbus.Client(f"{device.url}?ca={works.ca.cert}") as client,
        pytest.raises(PortError, match="refused us: alert 116 certificate_required"),
    ):
        client.read_holding(0)
    with pytest.raises(PortError, match="refused us: alert 116 certificate_required"):
        modbus.Client(f"{device.url}?ca={works.ca.cert}&max=1.2")


def test_a_certificate_that_is_not_believed_accuses_the_device(works: Works, device: modbus.Device) -> None:
    client = works.client("client")
    stranger = works.pki.authority("stranger")
    with pytest.raises(Untrusted, match=r"CN=device; signed by CN=works\): nobody of our `ca` signed it"):
        modbus.Client(f"{device.url}?ca={stranger.cert}&cert={client.cert}&key={client.key}")
    with pytest.raises(Untrusted, match="elsewhere"):
        modbus.Client(f"{device.url}?{works.query(client)}&name=elsewhere")
    with modbus.Client(f"{device.url}?{works.query(client)}&name=*") as anybody:
        assert anybody.read_input(0).values == (7,)


def test_a_device_that_comes_back_with_another_certificate_is_accused(works: Works) -> None:
    client, other = works.client("client"), works.pki.identity("impostor", works.pki.authority("strange CA"))
    with modbus.Device(f"tls://127.0.0.1:0?{works.query(works.device)}", input={0: [7]}) as device:
        url = device.url
        connected = modbus.Client(f"{url}?{works.query(client)}")
        assert connected.read_input(0).values == (7,)
    shown = f"ca={works.ca.cert}&cert={other.cert}&key={other.key}"
    with connected, modbus.Device(f"{url}?{shown}", input={0: [7]}):
        with contextlib.suppress(PortLost):  # the end of the first connection, if it was not noticed before
            with pytest.raises(Untrusted):
                connected.read_input(0)
        with pytest.raises(Untrusted) as told:
            connected.read_input(0)
    assert "CN=impostor; signed by CN=strange CA): nobody of our `ca` signed it" in str(told.value)
    assert "hint: `ca` says whose signature is believed" in str(told.value)


def test_files_have_the_names_that_people_give_them(works: Works, tmp_path: Path) -> None:
    files = {"a+b": works.ca.cert, "50%": works.device.cert, "k&k e%20y": works.device.key}
    for name, file in files.items():
        (tmp_path / name).write_bytes(Path(file).read_bytes())
    query = f"ca={tmp_path}/a+b&cert={tmp_path}/50%&key={tmp_path}/k%26k%20e%2520y"
    with modbus.Device(f"tls://127.0.0.1:0?{query}", input={0: [7]}) as device:
        with modbus.Client(f"{device.url}?{query}") as client:
            assert client.read_input(0).values == (7,)


def test_what_is_wrong_with_our_files_is_the_bench_s_fault(works: Works, device: modbus.Device) -> None:
    old = works.pki.identity("old", works.ca, dates=PAST)
    client = works.client("client")
    for query, text in (
        (works.query(old), r"old\.pem` \(CN=old\) expired"),
        (f"ca={works.ca.cert}&cert={client.cert}&key={works.device.key}", "does not belong to the certificate"),
        ("ca=nowhere.pem", r"`nowhere\.pem` \(ca\) cannot be read"),
        (f"{works.query(client)}&suites=NULL", "there is no cipher suite `NULL`"),
    ):
        with pytest.raises(PortError, match=text):
            modbus.Client(f"{device.url}?{query}")
    with pytest.raises(UsageError, match="nothing says whom to trust"):
        modbus.Client(device.url)
    with modbus.Client(f"{device.url}?{works.query(old)}&expired=allow") as presented:
        with pytest.raises(PortError, match="alert 45 certificate_expired"):
            presented.read_input(0)


def test_a_rule_that_is_none_is_named() -> None:
    with pytest.raises(UsageError, match=r"roles.Operator.holdings.*unknown key"):
        modbus.Device(roles={"Operator": {"holdings": [1]}})


def test_handshakes_and_refusals_stand_in_the_run_log(works: Works, tmp_path: Path) -> None:
    with Rig(folder=str(tmp_path)) as rig:
        url = f"tls://127.0.0.1:0?{works.query(works.device)}"
        with modbus.Device(url, holding={0: [1]}, roles=RULES, rig=rig) as device:
            operator = works.client("operator", role("Operator"))
            with modbus.Client(f"{device.url}?{works.query(operator)}&max=1.2", rig=rig) as client:
                with pytest.raises(ExceptionAnswer):
                    client.read_input(0)
    lines = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text("utf-8").splitlines()]
    secured = [record["fields"] for record in lines if record["kind"] == "connection.secured"]
    assert {record["subject"] for record in secured} == {"CN=device", "CN=operator"}
    assert {record["version"] for record in secured} == {"TLS 1.2"}
    (refused,) = [record["fields"] for record in lines if record["kind"] == "modbus.role_refused"]
    assert (refused["role"], refused["function"]) == ("Operator", 4)


BENCH = """
[bench]
name = "secure"
[link.uplink]
protocol = "modbus-tls"
tls = { ca = "works.pem", cert = "operator.pem", key = "operator.key" }
emulated = { tls = { ca = "works.pem", cert = "device.pem", key = "device.key" } }
real = { port = "tls://127.0.0.1:PORT" }
[dut.meter]
model = "meter.toml"
links = { uplink = "devices" }
"""
METER = """
[model]
name = "meter"
[points.voltage]
kind = "float"
initial = 230.0
[points.secret]
kind = "int"
initial = 42
[face.uplink]
roles = { Operator = { functions = [3], holding = [0] } }
[face.uplink.map]
voltage = { table = "holding", address = 0 }
secret = { table = "holding", address = 1 }
"""


@pytest.mark.parametrize("profile", ["emulated", "real"])
def test_a_bench_says_what_each_side_shows(profile: str, works: Works) -> None:
    folder = works.ca.cert.parent
    works.client("operator", role("Operator"))
    (folder / "meter.toml").write_text(METER, "utf-8")
    url = f"tls://127.0.0.1:0?{works.query(works.device)}"
    rules = {"Operator": {"functions": [3], "holding": [0]}}
    with modbus.Device(url, unit=None, holding={0: [230, 42]}, roles=rules) as device:
        (folder / "bench.toml").write_text(BENCH.replace("PORT", device.url.rpartition(":")[2]), "utf-8")
        with BenchPlan.load(folder / "bench.toml", [profile]).open(folder / profile) as bench:
            meter = bench.device("meter")
            assert meter.uplink.read("voltage").value == 230
            with pytest.raises(ExceptionAnswer) as refused:
                meter.uplink.read("secret")
            assert refused.value.code == 1
