// SPDX-License-Identifier: Apache-2.0
// A S25FL128S at its pins: commands, modes, and times of its data sheet (002-00466),
// latency code 00.
// Between the fall of its clock and the valid output its pins carry noise.
#ifndef SPIKELOOM_FLASH_CHIP_H
#define SPIKELOOM_FLASH_CHIP_H

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

class FlashChip {
  public:
    struct Pins {
        bool csN = true, sck = false;
        unsigned dq = 0, driven = 0;  // levels of the master, and which pins it drives
        bool operator==(const Pins& other) const {
            return csN == other.csN && sck == other.sck && dq == other.dq && driven == other.driven;
        }
    };
    static constexpr unsigned kSize = 1 << 24, kWriteEnabled = 0x02, kBusy = 0x01, kQuad = 0x02;

    // configuration, status: registers as after power-up; writeNs: that writing a register takes.
    FlashChip(unsigned configuration, unsigned status, double writeNs)
        : configuration(configuration), status(status), writeNs_(writeNs), contents_(kSize, 0xFF) {}

    void load(unsigned address, const uint8_t* data, unsigned size) {
        for (unsigned n = 0; n < size; ++n) contents_[(address + n) % kSize] = data[n];
    }

    // What the pins carry now; pins that the chip does not drive carry noise.
    unsigned output(double ns) {
        const unsigned valid = ns >= valid_ ? mask_ : 0;
        return (driven_ & valid) | (noise() & ~valid & 15);
    }

    // The master's pins from now on.
    void see(double ns, const Pins& pins) {
        if (pins == pins_) return;
        const Pins before = pins_;
        pins_ = pins;
        if (pins.dq != before.dq || pins.driven != before.driven) {
            stable_ = ns;
            if (!before.csN && ns - rose_ < kHold)
                fault("inputs must hold for 2 ns after the clock rises");
        }
        if (!pins.csN && before.csN) {
            const double least = wrote_ ? kHighWrite : kHighRead;
            if (ns - released_ < least)
                fault("select must be off for " + text(least) + " ns, not " + text(ns - released_));
            if (pins.sck) fault("the clock must be low when select comes");
            selected_ = ns, bits_.clear(), mask_ = 0, wrote_ = false;
        } else if (pins.csN && !before.csN) {
            if (ns - rose_ < kSelect) fault("select must stay for 3 ns after the clock rises");
            wrote_ = end(ns), released_ = ns, mask_ = 0;
        } else if (!pins.csN && pins.sck && !before.sck) {
            rise(ns);
        } else if (!pins.csN && !pins.sck && before.sck) {
            answer(ns);
        }
        if (!pins.csN && mask_ & pins.driven) fault("both sides drive a pin");
    }

    std::vector<std::string> faults;
    std::vector<unsigned> reads, commands;  // addresses of read commands; all commands
    unsigned configuration, status;

  private:
    enum Command { kWriteRegisters = 0x01, kReadStatus = 0x05, kWriteEnable = 0x06,
        kReadConfiguration = 0x35, kQuadRead = 0x6B };
    // Nanoseconds, at 3.0 V and 30 pF.
    static constexpr double kValid = 8, kSetUp = 2, kHold = 2, kHighRead = 10, kHighWrite = 50,
        kSelect = 3;
    static constexpr double kPeriod = 7.5, kQuadPeriod = 12.5, kNever = -1e9;

    static std::string text(double value) {
        char buffer[32];
        std::snprintf(buffer, sizeof buffer, "%g", value);
        return buffer;
    }

    void fault(const std::string& sentence) { faults.push_back(sentence); }

    unsigned noise() {
        random_ ^= random_ << 13, random_ ^= random_ >> 17, random_ ^= random_ << 5;
        return random_ >> 8;
    }

    unsigned number(size_t from, size_t to) const {
        unsigned value = 0;
        for (size_t n = from; n < to; ++n) value = value << 1 | bits_[n];
        return value;
    }

    int command() const { return bits_.size() < 8 ? -1 : static_cast<int>(number(0, 8)); }

    void rise(double ns) {
        const int now = command();
        const double least = now == kQuadRead ? kQuadPeriod : kPeriod;
        if (!bits_.empty() && ns - rose_ < least)
            fault("the clock must have " + text(least) + " ns, not " + text(ns - rose_));
        if (ns - selected_ < kSelect || ns - stable_ < kSetUp)
            fault("select and inputs must come before the clock");
        rose_ = ns;
        // In single mode pin 3 is hold, unless all pins are data.
        if (!(configuration & kQuad) && !(pins_.driven >> 3 & pins_.dq >> 3 & 1))
            fault("hold must be high");
        const size_t listened = now == kWriteRegisters ? 24 : now == kQuadRead ? 32 : 8;
        if (bits_.size() < listened && !(pins_.driven & 1))
            fault("pin 0 must be driven while bits are sent");
        bits_.push_back(pins_.dq & 1);
    }

    // The clock fell: pins that the chip drives from now on.
    void answer(double ns) {
        valid_ = ns + kValid, mask_ = 0;
        if (bits_.size() < 8) return;
        const int now = command();
        if (bits_.size() == 8) {
            commands.push_back(now);
            char name[8];
            std::snprintf(name, sizeof name, "%#04x", now);
            if (now != kWriteRegisters && now != kReadStatus && now != kWriteEnable &&
                now != kReadConfiguration && now != kQuadRead)
                fault(std::string("there is no command ") + name);
            if (ns < busyUntil_ && now != kReadStatus)
                fault(std::string("command ") + name + " came while a register was written");
        }
        const size_t sent = bits_.size() - 8;
        if (now == kReadStatus || now == kReadConfiguration) {
            const unsigned value = now == kReadConfiguration ?
                configuration : (status & ~kBusy) | (ns < busyUntil_ ? kBusy : 0);
            mask_ = 2, driven_ = (value >> (7 - sent % 8) & 1) << 1;
        } else if (now == kQuadRead) {
            if (sent == 24 && !(configuration & kQuad)) fault("quad read needs the quad bit");
            if (!(configuration & kQuad)) return;
            if (sent == 24) reads.push_back(number(8, 32));
            const size_t dummies = configuration >> 6 == 3 ? 0 : 8;
            if (sent < 24 + dummies) return;
            const size_t nibble = sent - 24 - dummies;
            const uint8_t value = contents_[(reads.back() + nibble / 2) % kSize];
            mask_ = 15, driven_ = nibble % 2 ? value & 15 : value >> 4;
        }
    }

    // Select went; true if something is written now.
    bool end(double ns) {
        const int now = command();
        if (now == kWriteEnable && bits_.size() == 8) {
            status |= kWriteEnabled;
        } else if (now == kWriteRegisters) {
            if (bits_.size() != 24) {
                fault("registers are written with 24 bits, not " + std::to_string(bits_.size()));
            } else if (!(status & kWriteEnabled)) {
                fault("writing registers needs write enable");
            } else {
                status = number(8, 16) & ~(kWriteEnabled | kBusy);
                configuration = number(16, 24);
                busyUntil_ = ns + writeNs_;
                return true;
            }
        }
        return false;
    }

    double writeNs_;
    std::vector<uint8_t> contents_;
    Pins pins_;
    std::vector<bool> bits_;
    double rose_ = kNever, selected_ = kNever, released_ = kNever, stable_ = kNever,
        valid_ = kNever, busyUntil_ = 0;
    bool wrote_ = false;
    unsigned driven_ = 0, mask_ = 0;
    uint32_t random_ = 7;
};

#endif
