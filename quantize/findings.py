# SPDX-License-Identifier: Apache-2.0
"""What an import cannot map, layer by layer: each with its reason and with what would work."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    """One layer that has no counterpart in the hardware.

    layer: its name in the file, module or graph; "" for the network as a whole
    what:  its type and the settings that matter
    why:   the rule that it breaks
    hint:  what would work instead
    """

    layer: str
    what: str
    why: str
    hint: str


@dataclass
class Analysis:
    """All that was found in one walk over a whole network.

    source:   file name, or class of a module
    kind:     what it was taken for
    findings: empty if the network can be imported
    facts:    what was read or measured, to be shown
    notes:    what the user should know though it imports
    """

    source: str
    kind: str
    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def supported(self) -> bool:
        return not self.findings

    def add(self, layer: str, what: str, why: str, hint: str) -> None:
        self.findings.append(Finding(layer, what, why, hint))

    def lines(self) -> list[str]:
        """The report, for people."""
        lines = [f"source      {self.source}", f"kind        {self.kind}"]
        lines += [f"{name:<11} {value}" for name, value in self.facts.items()]
        for entry in self.findings:
            lines += [f"unsupported {entry.layer or '(whole network)'}: {entry.what}",
                      f"            why: {entry.why}", f"            works: {entry.hint}"]
        lines += [f"note        {note}" for note in self.notes]
        count = len(self.findings)
        return lines + ["verdict     every layer can be mapped" if self.supported else
                        f"verdict     {count} {'layer' if count == 1 else 'layers'} cannot be "
                        "mapped, so nothing is imported"]

    def require(self) -> None:
        """ValueError, one sentence with the first finding and the number of others."""
        if self.findings:
            first, others = self.findings[0], len(self.findings) - 1
            more = f" ({others} more: see the analysis)" if others else ""
            place = f"{first.layer} ({first.what})" if first.layer else first.what
            raise ValueError(f"{self.source} cannot be imported: {place}: {first.why}; "
                             f"{first.hint}{more}")
