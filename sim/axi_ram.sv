// SPDX-License-Identifier: Apache-2.0
//
// Memory behind an AXI4 port: in order, with a latency and pseudo-random stalls, and strict about
// the protocol: it ends the simulation where a master breaks a rule.
//
// The contents belong to the testbench's `memory`; a read-only master leaves AW, W and B alone.
module axi_ram #(
  parameter int DATA_BITS = 64,
  parameter string NAME = "axi"
) (
  input wire clk, input wire rst,
  input wire [31:0] latency,  // cycles from AR to the first beat
  input wire [31:0] stalls,   // seed; 0: none
  input wire [44:0] ar, input wire ar_valid, output logic ar_ready,
  output logic [DATA_BITS+2:0] r, output logic r_valid, input wire r_ready,
  input wire [44:0] aw, input wire aw_valid, output logic aw_ready,
  input wire [DATA_BITS:0] w, input wire w_valid, output logic w_ready,
  output logic [1:0] b, output logic b_valid, input wire b_ready
);
  timeunit 1ns; timeprecision 1ns;

  localparam int BYTES = DATA_BITS / 8;
  localparam int UNDER_WAY = 16;  // bursts

  logic [DATA_BITS-1:0] memory [];
  longint unsigned beats_read = 0, beats_written = 0, bursts_read = 0, bursts_written = 0;

  // Make room for `size` bytes and put the file's contents at the start.
  task automatic load(input string name, input longint unsigned size);
    int file, got;
    logic [DATA_BITS-1:0] value, swapped;
    memory = new[int'((size + BYTES - 1) / BYTES)];
    if (name != "") begin
      file = $fopen(name, "rb");
      if (file == 0) $fatal(1, "%s: no image file", NAME);
      for (int i = 0; i < memory.size(); i++) begin
        got = $fread(value, file);
        if (got <= 0) break;
        for (int n = 0; n < BYTES; n++) swapped[8*n +: 8] = value[8*(BYTES-1-n) +: 8];
        memory[i] = swapped;
      end
      $fclose(file);
    end
  endtask

  function automatic void check(input logic [44:0] address, input string channel);
    logic [31:0] first = address[31:0], last = address[31:0] + (32'(address[39:32]) + 1) * BYTES - 1;
    if (first % BYTES != 0) $fatal(1, "%s: %s address %h is not aligned", NAME, channel, first);
    if (address[42:40] != 3'($clog2(BYTES)) || address[44:43] != 1)
      $fatal(1, "%s: %s must be whole beats, incrementing", NAME, channel);
    if (first >> 12 != last >> 12) $fatal(1, "%s: %s burst at %h crosses 4 KB", NAME, channel, first);
    if (longint'(last) / BYTES >= longint'(memory.size()))
      $fatal(1, "%s: %s burst at %h leaves the memory", NAME, channel, first);
  endfunction

  logic [31:0] noise = 1, cycle = 0;
  wire [31:0] noise1 = noise ^ (noise << 13);
  wire [31:0] noise2 = noise1 ^ (noise1 >> 17);
  // Runs of pauses as well as single ones, apart for each channel.
  wire [4:0] pause = stalls == 0 ? 5'd0 : noise[4:0] & noise[9:5] | {5{noise[15:11] == 0}};

  // Bursts under way: address of the next beat, beats left, cycle from which they may come.
  logic [31:0] read_address [UNDER_WAY], read_time [UNDER_WAY], write_address [UNDER_WAY];
  logic [8:0] read_left [UNDER_WAY], write_left [UNDER_WAY];
  logic [3:0] read_head = 0, read_tail = 0, write_head = 0, write_tail = 0;
  logic [7:0] answers = 0;
  logic [31:0] place;
  logic [DATA_BITS-1:0] value_read;
  logic [44:0] ar_kept = 0, aw_kept = 0;
  logic [DATA_BITS:0] w_kept = 0;
  logic ar_waits = 0, aw_waits = 0, w_waits = 0;

  initial begin
    ar_ready = 0; r_valid = 0; aw_ready = 0; w_ready = 0; b_valid = 0; b = 0; r = 0;
  end

  always @(posedge clk) begin
    cycle <= cycle + 1;
    noise <= rst ? stalls | 1 : noise2 ^ (noise2 << 5);
    ar_ready <= !pause[0] && 4'(read_tail + 2) != read_head && 4'(read_tail + 1) != read_head;
    aw_ready <= !pause[1] && 4'(write_tail + 2) != write_head && 4'(write_tail + 1) != write_head;
    // What waits must stay.
    if (ar_waits && (!ar_valid || ar != ar_kept)) $fatal(1, "%s: AR changed while waiting", NAME);
    if (aw_waits && (!aw_valid || aw != aw_kept)) $fatal(1, "%s: AW changed while waiting", NAME);
    if (w_waits && (!w_valid || w != w_kept)) $fatal(1, "%s: W changed while waiting", NAME);
    ar_waits <= ar_valid && !ar_ready && !rst; ar_kept <= ar;
    aw_waits <= aw_valid && !aw_ready && !rst; aw_kept <= aw;
    w_waits <= w_valid && !w_ready && !rst; w_kept <= w;

    if (!rst) begin
      if (ar_valid && ar_ready) begin
        check(ar, "AR");
        read_address[read_tail] <= ar[31:0];
        read_left[read_tail] <= 9'(ar[39:32]) + 1;
        read_time[read_tail] <= cycle + latency;
        read_tail <= read_tail + 1;
        bursts_read <= bursts_read + 1;
      end
      if (r_valid && r_ready) r_valid <= 0;
      if ((!r_valid || r_ready) && read_head != read_tail && !pause[2]
          && $signed(cycle - read_time[read_head]) >= 0) begin
        place = read_address[read_head] / BYTES;
        value_read = memory[place];
        r <= {read_left[read_head] == 1, 2'b00, value_read};
        r_valid <= 1;
        beats_read <= beats_read + 1;
        read_address[read_head] <= read_address[read_head] + BYTES;
        read_left[read_head] <= read_left[read_head] - 1;
        if (read_left[read_head] == 1) read_head <= read_head + 1;
      end

      if (aw_valid && aw_ready) begin
        check(aw, "AW");
        write_address[write_tail] <= aw[31:0];
        write_left[write_tail] <= 9'(aw[39:32]) + 1;
        write_tail <= write_tail + 1;
        bursts_written <= bursts_written + 1;
      end
      w_ready <= write_head != write_tail && !pause[3]
                 && !(w_valid && w_ready && write_left[write_head] == 1);
      if (w_valid && w_ready) begin
        place = write_address[write_head] / BYTES;
        memory[place] = w[DATA_BITS-1:0];
        beats_written <= beats_written + 1;
        if (w[DATA_BITS] != (write_left[write_head] == 1)) $fatal(1, "%s: WLAST is wrong", NAME);
        write_address[write_head] <= write_address[write_head] + BYTES;
        write_left[write_head] <= write_left[write_head] - 1;
        if (write_left[write_head] == 1) write_head <= write_head + 1;
      end
      if (b_valid && b_ready) b_valid <= 0;
      if ((!b_valid || b_ready) && answers != 0 && !pause[4]) b_valid <= 1;
      answers <= answers + 8'(w_valid && w_ready && write_left[write_head] == 1)
                 - 8'((!b_valid || b_ready) && answers != 0 && !pause[4]);
    end
  end
endmodule
