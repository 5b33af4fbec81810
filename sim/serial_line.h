// SPDX-License-Identifier: Apache-2.0
// The far end of a serial line: start bit, eight data bits from the lowest, stop bit.
#ifndef SPIKELOOM_SERIAL_LINE_H
#define SPIKELOOM_SERIAL_LINE_H

#include <cstdint>
#include <deque>

// `divisor`: calls of `drive`, and of `listen`, in the time of a bit.
struct Line {
    int divisor;
    std::deque<uint8_t> waiting;
    int sendBit = -1, sendTimer = 0;
    int receiveBit = -1, receiveTimer = 0;
    uint8_t received = 0;

    bool drive() {
        if (sendBit < 0) {
            if (waiting.empty()) return true;
            sendBit = 0;
            sendTimer = divisor;
        }
        const bool level = sendBit == 0 ? false : sendBit == 9 ||
            waiting.front() >> (sendBit - 1) & 1;
        if (--sendTimer == 0) {
            sendTimer = divisor;
            if (++sendBit == 10) {
                sendBit = -1;
                waiting.pop_front();
            }
        }
        return level;
    }

    // True with the middle of a stop bit: `received` is a byte.
    bool listen(bool level) {
        if (receiveBit < 0) {
            if (level) return false;
            receiveBit = 0;
            receiveTimer = divisor + divisor / 2;
            return false;
        }
        if (--receiveTimer) return false;
        receiveTimer = divisor;
        if (receiveBit < 8) {
            received = static_cast<uint8_t>(received >> 1 | (level ? 0x80 : 0));
            ++receiveBit;
            return false;
        }
        if (level) receiveBit = -1;
        return level;
    }
};

#endif
