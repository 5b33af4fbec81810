// SPDX-License-Identifier: Apache-2.0
// A 2 Gbit DDR3L SDRAM of 16 bits at its pins, with its DLL off: states, and times of
// MT41K128M16JT-125.  Bursts of eight at latencies of 6 only.  Words that nobody wrote are noise,
// and so is what the data pins carry around each bit's valid time.
#ifndef SPIKELOOM_DDR3_CHIP_H
#define SPIKELOOM_DDR3_CHIP_H

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

class Ddr3Chip {
  public:
    // Levels.  dqs, dm: a bit for each byte; drivenDq, drivenDqs: by the master.
    struct Pins {
        bool ck = false, resetN = false, cke = false, csN = true, rasN = true, casN = true,
            weN = true, odt = false;
        unsigned ba = 0, a = 0, dm = 0, dq = 0, dqs = 0;
        bool drivenDq = false, drivenDqs = false;
        bool sameCommand(const Pins& other) const {
            return csN == other.csN && rasN == other.rasN && casN == other.casN &&
                weN == other.weN && ba == other.ba && a == other.a && cke == other.cke &&
                odt == other.odt;
        }
        bool sameData(const Pins& other) const {
            return dm == other.dm && dq == other.dq && drivenDq == other.drivenDq;
        }
    };

    // powerUp, wakeUp: nanoseconds in reset, and from it to the clock enable; access: tDQSCK, 1 to
    // 10 ns without the DLL; flight: of the board and the pins, there and back.
    Ddr3Chip(double powerUp, double wakeUp, double access, double flight)
        : powerUp_(powerUp), wakeUp_(wakeUp), delay_(access + flight) {}

    // What the data pins carry now, noise unless the chip drives them.
    unsigned output(double ns) {
        for (const Bit& bit : bits_)
            if (ns >= bit.from && ns <= bit.held) return bit.word;
        return noise();
    }

    // The master's pins from now on.
    void see(double ns, const Pins& pins) {
        while (!bits_.empty() && bits_.front().off < ns) bits_.pop_front();
        if (pins_.drivenDq || pins_.drivenDqs)
            for (const Bit& bit : bits_)
                if (seen_ < bit.off && ns > bit.on) fault("both sides drive the data pins");
        if (!pins.resetN || !pins_.resetN) inReset(ns, pins);
        if (!pins.sameCommand(pins_)) {
            if (ns - rose_ < kHold - kSlack && pins_.cke) fault("tIH: a command changes after " +
                text(ns - rose_) + " ns");
            commandStable_ = ns;
        }
        if (!pins.sameData(pins_)) {
            if (writing() && ns - strobed_ < kDataHold - kSlack)
                fault("tDH: data changes " + text(ns - strobed_) + " ns after the strobe");
            dataStable_ = ns;
        }
        const Pins before = pins_;
        pins_ = pins, seen_ = ns;
        if (!pins.resetN) return;
        if (pins.cke && !before.cke) enable(ns);
        if (pins.ck != before.ck) clock(ns, pins.ck);
        strobe(ns, before);
    }

    // Were there refreshes enough, up to now?
    void finish() {
        if (calibrated_ != kNever) late(seen_);
    }

    std::unordered_map<unsigned, uint16_t> words;  // by row, bank, column
    std::vector<std::string> faults;
    struct Seen { double ns; unsigned code; };
    std::vector<Seen> commands;
    unsigned refreshes = 0;

  private:
    // ras, cas and we, true when high.
    enum { kCalibrate = 1, kRead, kWrite, kActivate, kPrecharge, kRefresh, kMode };
    // Nanoseconds; kLate: what the eight refreshes that may be postponed can be late by.
    static constexpr double kRcd = 13.75, kRp = 13.75, kRas = 35, kRc = 48.75, kRasMost = 9 * 7800,
        kRfc = 160, kRrd = 7.5, kWr = 15, kWtr = 7.5, kRtp = 7.5, kMod = 15, kXpr = 170;
    // Without its DLL a chip takes clocks of 8 ns and more.
    static constexpr double kClock = 8, kClockMost = 7800, kDuty = 0.43, kSetUp = 0.17,
        kHold = 0.12, kDataSetUp = 0.01, kDataHold = 0.045, kSlack = 1e-6;
    // Of a read's data: from the strobe, the last bit to come; and in clocks the first one to go.
    static constexpr double kSkew = 0.1, kOutputHold = 0.38;
    // In clocks.
    static constexpr double kStrobe = 0.27, kStrobeFall = 0.18, kPreamble = 0.9, kPostamble = 0.3;
    static constexpr int kLatency = 6, kBurst = 4, kTurn = 4, kMrd = 4, kModes = 12,
        kCalibration = 512, kClocksBefore = 5;
    static constexpr double kRefreshInterval = 7800, kLate = 8 * 7800, kNever = -1e12;
    struct Bank { int row = -1; double activated = kNever, precharged = kNever; };
    struct Bit { double on, from, held, off; uint16_t word; };
    // A write under way: its first word's place, the clock that its strobe belongs to, words taken.
    struct Write { unsigned place; int64_t due; int taken = 0; };

    static std::string text(double value) {
        char buffer[32];
        std::snprintf(buffer, sizeof buffer, "%g", value);
        return buffer;
    }
    void fault(const std::string& sentence) { faults.push_back(sentence); }
    void least(const std::string& what, double since, double ns, double time) {
        if (ns - since < time - kSlack)
            fault(what + ": " + text(ns - since) + " ns, at least " + text(time));
    }
    void leastClocks(const std::string& what, int64_t since, int64_t count) {
        if (clocks_ - since < count)
            fault(what + ": " + std::to_string(clocks_ - since) + " clocks, at least " +
                std::to_string(count));
    }
    unsigned noise() {
        random_ ^= random_ << 13, random_ ^= random_ >> 17, random_ ^= random_ << 5;
        return random_ >> 16;
    }
    bool writing() const { return !writes_.empty() && clocks_ + 1 >= writes_.front().due; }

    void inReset(double ns, const Pins& pins) {
        if (!pins.resetN) {
            if (pins.cke) fault("the clock is enabled in reset");
            if (pins_.resetN) inResetFrom_ = ns;
            for (Bank& bank : banks_) bank = Bank{};
            modes_ = 0, calibrated_ = kNever, refreshes = 0;
            return;
        }
        least("reset", inResetFrom_, ns, powerUp_);
        outOfReset_ = ns;
    }

    void enable(double ns) {
        least("from reset to clock enable", outOfReset_, ns, wakeUp_);
        leastClocks("before the clock enable", 0, kClocksBefore);
        enabled_ = ns, enabledClock_ = clocks_;
    }

    void clock(double ns, bool rises) {
        double& last = rises ? rose_ : fell_;
        const double other = rises ? fell_ : rose_;
        if (last != kNever && pins_.cke) {
            const double period = ns - last;
            if (period < kClock - kSlack || period > kClockMost)
                fault("clock: " + text(period) + " ns, at least 8, at most 7800");
            least(rises ? "clock low" : "clock high", other, ns, kDuty * period);
            period_ = period;
        }
        last = ns;
        if (!rises) return;
        ++clocks_;
        if (!pins_.cke) return;
        least("tIS", commandStable_, ns, kSetUp);
        if (pins_.odt) fault("without its DLL a chip has no termination");
        if (!writes_.empty() && clocks_ > writes_.front().due + 1 && !writes_.front().taken)
            fault("a write without its strobe"), writes_.pop_front();
        const unsigned code = !pins_.rasN << 2 | !pins_.casN << 1 | !pins_.weN;
        if (!pins_.csN && code) command(ns, code, pins_.ba, pins_.a);
    }

    void command(double ns, unsigned code, unsigned bank, unsigned a) {
        static const char* const names[] = {"", "calibrate", "read", "write", "activate",
            "precharge", "refresh", "mode"};
        const std::string name = names[code];
        commands.push_back({ns, code});
        least("tXPR", enabled_, ns, kXpr);
        leastClocks("tXPR", enabledClock_, 5);
        if (code == kMode) {
            leastClocks("tMRD", modeClock_, kMrd);
        } else {
            least("tMOD", moded_, ns, kMod);
            leastClocks("tMOD", modeClock_, kModes);
        }
        if (code != kMode && code != kCalibrate) {
            if (calibrated_ == kNever) fault(name + " before the calibration");
            leastClocks("tZQinit", calibrationClock_, kCalibration);
        }
        least(name + " after refresh, tRFC", refreshed_, ns, kRfc);
        Bank& here = banks_[bank];
        switch (code) {
        case kCalibrate:
            if (modes_ != 15) fault("calibrate before the modes are set");
            if (!(a >> 10 & 1)) fault("the first calibration is the long one");
            calibrated_ = ns, calibrationClock_ = clocks_;
            break;
        case kPrecharge:
            for (unsigned b = 0; b < 8; ++b)
                if (a >> 10 & 1 || b == bank) precharge(ns, banks_[b]);
            break;
        case kRefresh:
        case kMode:
            for (const Bank& each : banks_) {
                if (each.row >= 0) fault(name + " with an open row");
                least("tRP", each.precharged, ns, kRp);
            }
            if (code == kMode) mode(ns, bank, a);
            else refresh(ns);
            break;
        case kActivate:
            if (here.row >= 0) fault("activate with an open row");
            least("tRP", here.precharged, ns, kRp);
            least("tRC", here.activated, ns, kRc);
            for (const Bank& each : banks_) if (&each != &here) {
                least("tRRD", each.activated, ns, kRrd);
            }
            here.row = static_cast<int>(a), here.activated = ns;
            break;
        default:
            access(ns, name, code == kWrite, here, bank, a);
        }
    }

    void mode(double ns, unsigned bank, unsigned a) {
        static const unsigned order[] = {2, 3, 1, 0}, values[] = {2 << 4, 1, 1 << 3, 0};
        unsigned set = 0;
        while (set < 4 && modes_ >> order[set] & 1) ++set;
        if (bank > 3 || (set < 4 && order[set] != bank))
            fault("modes are set in the order 2, 3, 1, 0, not " + std::to_string(bank));
        // Of mode 0 but for the write recovery of automatic precharges, of 1 but for the drivers.
        const unsigned mask = bank == 0 ? 0x11FF : bank == 1 ? ~0x22u : ~0u;
        if (bank <= 3 && (a & mask) != values[bank])
            fault("mode " + std::to_string(bank) + " is not that of a chip without DLL, of bursts "
                  "of eight and latencies of 6");
        modes_ |= 1 << (bank & 3), moded_ = ns, modeClock_ = clocks_;
    }

    void precharge(double ns, Bank& bank) {
        if (bank.row >= 0) {
            least("tRAS", bank.activated, ns, kRas);
            least("tWR", wrote_, ns, kWr);
            least("tRTP", readAt_, ns, kRtp);
            leastClocks("tRTP", readClock_, kTurn);
            if (!writes_.empty()) fault("precharge before a write's data");
            if (ns - bank.activated > kRasMost)
                fault("a row was open for " + text(ns - bank.activated) + " ns");
            bank.precharged = ns;
        }
        bank.row = -1;
    }

    // Postponed refreshes may be made up for: their number since the first one counts.
    void late(double ns) {
        if (ns - calibrated_ > refreshes * kRefreshInterval + kLate)
            fault("refresh " + std::to_string(refreshes) + " comes late, at " + text(ns) + " ns");
    }
    void refresh(double ns) {
        if (!writes_.empty()) fault("refresh before a write's data");
        late(ns);
        ++refreshes, refreshed_ = ns;
    }

    void access(double ns, const std::string& name, bool write, Bank& here, unsigned bank,
                unsigned a) {
        if (here.row < 0) {
            fault(name + " without an open row");
            return;
        }
        if (a >> 10) fault(name + " with auto precharge or a column beyond the row");
        if (a & 7) fault(name + " from the middle of a burst");
        least("tRCD", here.activated, ns, kRcd);
        leastClocks("tCCD", std::max(readClock_, writeClock_), kBurst);
        const unsigned place = (static_cast<unsigned>(here.row) << 3 | bank) << 10 | (a & 1023);
        if (write) {
            writeClock_ = clocks_;
            writes_.push_back({place, clocks_ + kLatency});
            return;
        }
        if (!writes_.empty()) fault("read before a write's data");
        least("tWTR", wrote_, ns, kWtr);
        leastClocks("tWTR", writeClock_ + kLatency + kBurst, kTurn);
        readClock_ = clocks_, readAt_ = ns;
        // A clock earlier than with a DLL, and from there on as late as it likes.
        const double first = ns + (kLatency - 1) * period_ + delay_, half = period_ / 2;
        for (int n = 0; n < 2 * kBurst; ++n) {
            const auto found = words.find(place + n);
            const auto word = found == words.end() ? static_cast<uint16_t>(noise()) : found->second;
            const double edge = first + n * half;
            // With the strobe's pre- and postamble.
            bits_.push_back({edge - (n ? 0 : period_), edge + kSkew, edge + kOutputHold * period_,
                edge + (n < 7 ? half : period_), word});
        }
    }

    // The strobe of a write: its edges take words.
    void strobe(double ns, const Pins& before) {
        const bool was = before.drivenDqs && before.dqs == 3;
        const bool high = pins_.drivenDqs && pins_.dqs == 3;
        if (pins_.drivenDqs && pins_.dqs != 0 && pins_.dqs != 3) fault("strobes differ");
        if (pins_.drivenDqs && !before.drivenDqs) {
            if (high) fault("tWPRE: the strobe begins high");
            drivenFrom_ = ns;
        }
        if (!pins_.drivenDqs && before.drivenDqs && strobed_ != kNever)
            least("tWPST", strobed_, ns, kPostamble * period_);
        if (high == was) return;
        if (writes_.empty()) {
            fault("the strobe changes without a write");
            return;
        }
        Write& write = writes_.front();
        if (high) {
            const double expected = rose_ + (write.due + write.taken / 2 - clocks_) * period_;
            if (std::abs(ns - expected) > kStrobe * period_)
                fault("tDQSS: " + text(ns - expected) + " ns, at most " + text(kStrobe * period_));
            if (!write.taken)
                least("tWPRE", std::max(drivenFrom_, strobed_), ns, kPreamble * period_);
        } else {
            least("tDSH", rose_, ns, kStrobeFall * period_);
        }
        least("tDS", dataStable_, ns, kDataSetUp);
        if (!pins_.drivenDq) fault("write without data on the pins");
        const unsigned mask = (pins_.dm & 1 ? 0 : 0xFF) | (pins_.dm & 2 ? 0 : 0xFF00);
        if (mask) {
            uint16_t& word = words[write.place + write.taken];
            word = static_cast<uint16_t>((word & ~mask) | (pins_.dq & mask));
        }
        strobed_ = ns;
        if (++write.taken == 2 * kBurst) {
            writes_.pop_front();
            wrote_ = ns;
        }
    }

    double powerUp_, wakeUp_, delay_, seen_ = 0, rose_ = kNever, fell_ = kNever, period_ = 0;
    double inResetFrom_ = 0, outOfReset_ = kNever, enabled_ = kNever, moded_ = kNever,
        calibrated_ = kNever, refreshed_ = kNever, wrote_ = kNever, readAt_ = kNever;
    double commandStable_ = kNever, dataStable_ = kNever, strobed_ = kNever, drivenFrom_ = kNever;
    int64_t clocks_ = 0, enabledClock_ = 0, modeClock_ = -1000, calibrationClock_ = -1000,
        readClock_ = -1000, writeClock_ = -1000;
    unsigned modes_ = 0;
    Pins pins_;
    Bank banks_[8];
    std::deque<Bit> bits_;
    std::deque<Write> writes_;
    uint32_t random_ = 7;
};

#endif
