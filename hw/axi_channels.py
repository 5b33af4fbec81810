# SPDX-License-Identifier: Apache-2.0
"""AXI4 masters signal by signal, by the names of which tools infer an interface: m_axi_x_araddr."""

from typing import Any

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.axi import ADDRESS_BITS

_ADDRESS = {"addr": ADDRESS_BITS, "len": 8, "size": 3, "burst": 2}
# Of an address: normal memory that may be buffered, not cached; no exclusive access; data, secure,
# unprivileged; no priority.
_CONSTANT = {"cache": (4, 0b0011), "lock": (1, 0), "prot": (3, 0b000), "qos": (4, 0)}


def _address(prefix: str) -> dict[str, wiring.Member]:
    widths = _ADDRESS | {name: width for name, (width, _) in _CONSTANT.items()}
    return {f"{prefix}{name}": Out(width) for name, width in widths.items()} | {
        f"{prefix}valid": Out(1), f"{prefix}ready": In(1)}


def read_members(prefix: str, port_bits: int) -> dict[str, wiring.Member]:
    """Members of a component for a `hw.axi.ReadPort`: PREFIX_araddr, ..., PREFIX_rready."""
    return _address(f"{prefix}_ar") | {
        f"{prefix}_rdata": In(port_bits), f"{prefix}_rresp": In(2), f"{prefix}_rlast": In(1),
        f"{prefix}_rvalid": In(1), f"{prefix}_rready": Out(1)}


def write_members(prefix: str, port_bits: int) -> dict[str, wiring.Member]:
    """Likewise for a `hw.axi.WritePort`: PREFIX_awaddr, ..., PREFIX_bready."""
    return _address(f"{prefix}_aw") | {
        f"{prefix}_wdata": Out(port_bits), f"{prefix}_wstrb": Out(port_bits // 8),
        f"{prefix}_wlast": Out(1), f"{prefix}_wvalid": Out(1), f"{prefix}_wready": In(1),
        f"{prefix}_bresp": In(2), f"{prefix}_bvalid": In(1), f"{prefix}_bready": Out(1)}


def connect_read(outer: Any, prefix: str, port: Any) -> list[Any]:
    """Statements that connect the signals of `read_members` in `outer` to a read master inside."""
    r = port.r
    return [*_connect_address(outer, f"{prefix}_ar", port.ar),
            r.payload.data.eq(getattr(outer, f"{prefix}_rdata")),
            r.payload.resp.eq(getattr(outer, f"{prefix}_rresp")),
            r.payload.last.eq(getattr(outer, f"{prefix}_rlast")),
            r.valid.eq(getattr(outer, f"{prefix}_rvalid")),
            getattr(outer, f"{prefix}_rready").eq(r.ready)]


def connect_write(outer: Any, prefix: str, port: Any) -> list[Any]:
    """Likewise for `write_members`."""
    w, b, strobes = port.w, port.b, getattr(outer, f"{prefix}_wstrb")
    return [*_connect_address(outer, f"{prefix}_aw", port.aw),
            getattr(outer, f"{prefix}_wdata").eq(w.payload.data), strobes.eq(~0),
            getattr(outer, f"{prefix}_wlast").eq(w.payload.last),
            getattr(outer, f"{prefix}_wvalid").eq(w.valid),
            w.ready.eq(getattr(outer, f"{prefix}_wready")),
            b.payload.eq(getattr(outer, f"{prefix}_bresp")),
            b.valid.eq(getattr(outer, f"{prefix}_bvalid")),
            getattr(outer, f"{prefix}_bready").eq(b.ready)]


def _connect_address(outer: Any, prefix: str, channel: Any) -> list[Any]:
    return [*(getattr(outer, f"{prefix}{name}").eq(channel.payload[name]) for name in _ADDRESS),
            *(getattr(outer, f"{prefix}{name}").eq(value)
              for name, (_, value) in _CONSTANT.items()),
            getattr(outer, f"{prefix}valid").eq(channel.valid),
            channel.ready.eq(getattr(outer, f"{prefix}ready"))]
