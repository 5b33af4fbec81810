// SPDX-License-Identifier: Apache-2.0
// A 256 Mbit SDRAM of 16 bits at its pins: states, and times of AS4C16M16SA-7 (data sheet,
// table 16).
// Bursts of one word at CAS latency 2 only.  Words that nobody wrote are noise.
#ifndef SPIKELOOM_SDRAM_CHIP_H
#define SPIKELOOM_SDRAM_CHIP_H

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

class SdramChip {
  public:
    struct Pins {
        bool cke = true, csN = true, rasN = true, casN = true, weN = true;
        unsigned ba = 0, a = 0, dqm = 0, dq = 0;
        bool driven = false;  // the master drives dq
        bool operator==(const Pins& other) const {
            return cke == other.cke && csN == other.csN && rasN == other.rasN &&
                casN == other.casN &&
                   weN == other.weN && ba == other.ba && a == other.a && dqm == other.dqm &&
                   dq == other.dq && driven == other.driven;
        }
    };

    // powerUp: nanoseconds before the first command; flight: of the board and the pins, there and
    // back, by which data comes later than the data sheet says.
    SdramChip(double powerUp, double flight) : powerUp_(powerUp), flight_(flight) {}

    // What the data pins carry now, noise unless the chip drives them.
    unsigned output(double ns) {
        for (const Answer& answer : answers_)
            if (ns >= answer.from && ns <= answer.held) return answer.word;
        return noise();
    }

    // The master's pins from now on.
    void see(double ns, bool clock, const Pins& pins) {
        for (const Answer& answer : answers_)
            if (pins_.driven && seen_ < answer.off && ns > answer.on)
                fault("both sides drive the data pins");
        while (!answers_.empty() && answers_.front().off < ns) answers_.pop_front();
        const bool rises = clock && !clock_;
        if (!(pins == pins_)) {
            if (!rises && ns - rose_ < kHold)
                fault("inputs must hold for 0.8 ns after the clock rises");
            stable_ = ns;
        }
        pins_ = pins, clock_ = clock, seen_ = ns;
        if (!rises) return;
        least("set-up", stable_, ns, kSetUp);
        if (rose_ != kNever) {
            least("clock", rose_, ns, std::max(kClock, kAccess + flight_));
            period_ = ns - rose_;
        }
        rose_ = ns;
        const unsigned code = !pins.rasN << 2 | !pins.casN << 1 | !pins.weN;
        if (!pins.cke && !pins.csN) fault("commands need the clock enabled");
        if (!pins.csN && code) command(ns, code, pins.ba, pins.a);
        if (pins.driven && (pins.csN || code != kWrite))
            fault("data pins are driven without a write");
    }

    // A command by its levels of ras, cas and we, all true when high; data are those of the pins.
    void command(double ns, unsigned code, unsigned bank, unsigned a) {
        static const char* const names[] = {"", "stop", "read", "write", "activate", "precharge",
            "refresh", "mode"};
        const std::string name = names[code];
        commands.push_back({ns, code});
        least(name + " after refresh or mode", idleFrom_, ns, 0);
        if (code == kStop) fault("burst stop is not used with bursts of one");
        if (mode < 0 && (code == kActivate || code == kRead || code == kWrite))
            fault(name + " before the mode is set");
        Bank& here = banks_[bank];
        switch (code) {
        case kPrecharge:
            least("power up", 0, ns, powerUp_);
            for (unsigned b = 0; b < 4; ++b)
                if (a >> 10 & 1 || b == bank) precharge(ns, banks_[b]);
            break;
        case kRefresh:
        case kMode:
            for (const Bank& each : banks_) {
                if (each.row >= 0 || each.precharged == kNever) fault(name + " with an open row");
                least("tRP", each.precharged, ns, kRp);
            }
            idleFrom_ = ns + (code == kRefresh ? kRfc : kMrd);
            if (code == kRefresh) {
                refresh(ns);
            } else {
                if (refreshes < kFirstRefreshes)
                    fault("the mode is set before the first refreshes");
                mode = static_cast<int>(a);
                if ((a & 0x1FF) != 2 << 4 || a >> 9 != 1)
                    fault("mode " + hex(a) + " is not CAS latency 2 and bursts of one");
            }
            break;
        case kActivate:
            if (here.row >= 0) fault("activate with an open row");
            least("tRP", here.precharged, ns, kRp);
            least("tRC", here.activated, ns, kRc);
            for (const Bank& each : banks_) if (&each != &here)
                least("tRRD", each.activated, ns, kRrd);
            here.row = static_cast<int>(a), here.activated = ns;
            break;
        case kRead:
        case kWrite:
            if (here.row < 0) {
                fault(name + " without an open row");
                break;
            }
            if (a >> 9) fault(name + " with auto precharge or a column beyond the row");
            least("tRCD", here.activated, ns, kRcd);
            access(ns, code == kWrite,
                (static_cast<unsigned>(here.row) << 2 | bank) << 9 | (a & 511));
            if (code == kWrite) here.written = ns;
        }
    }

    // Were there refreshes enough, up to now?
    void finish() {
        if (mode >= 0) late(seen_);
    }

    std::unordered_map<unsigned, uint16_t> words;  // by row, bank, column
    std::vector<std::string> faults;
    struct Seen { double ns; unsigned code; };
    std::vector<Seen> commands;
    unsigned refreshes = 0;
    int mode = -1;

  private:
    enum { kStop = 1, kRead, kWrite, kActivate, kPrecharge, kRefresh, kMode };
    // Nanoseconds; kLate: what the eight refreshes that may be postponed can be late by.
    static constexpr double kRc = 63, kRfc = 63, kRcd = 21, kRp = 21, kRrd = 14, kMrd = 14,
        kRas = 42, kRasMost = 120000, kWr = 14;
    static constexpr double kClock = 10, kAccess = 6, kOutputHold = 2.5, kOff = 6, kSetUp = 1.5,
        kHold = 0.8;
    static constexpr double kRefreshInterval = 7800, kLate = 8 * 7800, kNever = -1e9;
    static constexpr unsigned kFirstRefreshes = 2;
    struct Bank { int row = -1; double activated = kNever, precharged = kNever, written = kNever; };
    struct Answer { double from, held, on, off; uint16_t word; };

    static std::string text(double value) {
        char buffer[32];
        std::snprintf(buffer, sizeof buffer, "%g", value);
        return buffer;
    }
    static std::string hex(unsigned value) {
        char buffer[16];
        std::snprintf(buffer, sizeof buffer, "%#x", value);
        return buffer;
    }
    void fault(const std::string& sentence) { faults.push_back(sentence); }
    void least(const std::string& what, double since, double ns, double time) {
        if (ns - since < time - 1e-6)
            fault(what + ": " + text(ns - since) + " ns, at least " + text(time));
    }
    unsigned noise() {
        random_ ^= random_ << 13, random_ ^= random_ >> 17, random_ ^= random_ << 5;
        return random_ >> 16;
    }

    void precharge(double ns, Bank& bank) {
        if (bank.row >= 0) {
            least("tRAS", bank.activated, ns, kRas);
            least("tWR", bank.written, ns, kWr);
            if (ns - bank.activated > kRasMost)
                fault("a row was open for " + text(ns - bank.activated) + " ns");
        }
        bank.row = -1, bank.precharged = ns;
    }

    // Postponed refreshes may be made up for: their number since the first one counts.
    void late(double ns) {
        if (ns - firstRefresh_ > refreshes * kRefreshInterval + kLate)
            fault("refresh " + std::to_string(refreshes) + " comes late, at " + text(ns) + " ns");
    }
    void refresh(double ns) {
        if (refreshes) late(ns); else firstRefresh_ = ns;
        ++refreshes;
    }

    void access(double ns, bool write, unsigned place) {
        if (write) {
            if (!pins_.driven) fault("write without data on the pins");
            if (pins_.dqm) fault("write of a part of a word");
            words[place] = static_cast<uint16_t>(pins_.dq);
            return;
        }
        if (pins_.dqm) fault("read with the data masked");
        const auto found = words.find(place);
        const uint16_t word = found == words.end() ? static_cast<uint16_t>(noise()) : found->second;
        // Driven from the clock after the read; valid at the one after that.
        answers_.push_back({ns + period_ + kAccess + flight_, ns + 2 * period_ + kOutputHold,
                            ns + period_, ns + 2 * period_ + kOff + flight_, word});
    }

    double powerUp_, flight_, idleFrom_ = 0, rose_ = kNever, period_ = 0, stable_ = kNever,
        seen_ = 0, firstRefresh_ = 0;
    Pins pins_;
    bool clock_ = false;
    Bank banks_[4];
    std::deque<Answer> answers_;
    uint32_t random_ = 5;
};

#endif
