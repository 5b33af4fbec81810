// SPDX-License-Identifier: Apache-2.0
// The chip models of sim/ as a library with C functions, for Python (tests/boards/chips.py).
#include "flash_chip.h"
#include "sdram_chip.h"

namespace {

template <class Items, class Text>
std::string list(const Items& items, Text text) {
    std::string all;
    for (const auto& item : items) all += (all.empty() ? "" : ", ") + text(item);
    return "[" + all + "]";
}

std::string quoted(const std::string& sentence) { return '"' + sentence + '"'; }
std::string number(unsigned value) { return std::to_string(value); }

std::string report;

}  // namespace

extern "C" {

FlashChip* flash_new(unsigned configuration, unsigned status, double writeNs) {
    return new FlashChip(configuration, status, writeNs);
}
void flash_delete(FlashChip* chip) { delete chip; }
void flash_load(FlashChip* chip, unsigned address, const uint8_t* data, unsigned size) {
    chip->load(address, data, size);
}
void flash_see(FlashChip* chip, double ns, int csN, int sck, unsigned dq, unsigned driven) {
    chip->see(ns, {csN != 0, sck != 0, dq, driven});
}
unsigned flash_output(FlashChip* chip, double ns) { return chip->output(ns); }
const char* flash_report(FlashChip* chip) {
    report = "{\"faults\": " + list(chip->faults, quoted) + ", \"reads\": " + list(chip->reads,
        number) +
             ", \"commands\": " + list(chip->commands, number) +
             ", \"configuration\": " + number(chip->configuration) +
             ", \"status\": " + number(chip->status) + "}";
    return report.c_str();
}

SdramChip* sdram_new(double powerUp, double flight) { return new SdramChip(powerUp, flight); }
void sdram_delete(SdramChip* chip) { delete chip; }
void sdram_put(SdramChip* chip, unsigned place, unsigned word) { chip->words[place] = word; }
int sdram_get(SdramChip* chip, unsigned place) {
    const auto found = chip->words.find(place);
    return found == chip->words.end() ? -1 : found->second;
}
// command: ras, cas and we, true when high
void sdram_see(SdramChip* chip, double ns, int clock, int command, unsigned ba, unsigned a,
               unsigned dq, int driven) {
    chip->see(ns, clock != 0, {true, false, !(command & 4), !(command & 2), !(command & 1), ba,
        a, 0,
                               dq, driven != 0});
}
unsigned sdram_output(SdramChip* chip, double ns) { return chip->output(ns); }
void sdram_finish(SdramChip* chip) { chip->finish(); }
const char* sdram_report(SdramChip* chip) {
    report = "{\"faults\": " + list(chip->faults, quoted) +
             ", \"refreshes\": " + number(chip->refreshes) +
             ", \"commands\": " + list(chip->commands,
                 [](const auto& each) { return number(each.code); }) + "}";
    return report.c_str();
}

}  // extern "C"
