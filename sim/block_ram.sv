// SPDX-License-Identifier: Apache-2.0
//
// What a block RAM of 7 series does, as far as yosys uses it: no output registers, no ECC, no
// cascade, one word written as a whole or by bytes.  Port `a` reads, or reads and writes (TDP); port
// `b` likewise, or only writes (SDP), then with the width of both.
//
// Where hardware leaves open what is read, because the other port writes that word in the same cycle
// and is not in mode READ_FIRST, the complement of the old word is read.
module block_ram #(
  parameter int BITS = 32768,           // without parity
  parameter logic [BITS-1:0] CONTENTS = '0,
  parameter logic [BITS/8-1:0] PARITY = '0,
  parameter int READ_A = 0, parameter int READ_B = 0,    // widths with parity: 1, 2, 4, 9, ... 72
  parameter int WRITE_A = 0, parameter int WRITE_B = 0,
  parameter MODE_A = "WRITE_FIRST", parameter MODE_B = "WRITE_FIRST",
  parameter logic [71:0] RESET_A = '0, parameter logic [71:0] RESET_B = '0
) (
  input wire clk_a, input wire en_a, input wire reset_a, input wire [$clog2(BITS)-1:0] address_a,
  input wire [7:0] write_a, input wire [71:0] in_a, output logic [71:0] out_a,
  input wire clk_b, input wire en_b, input wire reset_b, input wire [$clog2(BITS)-1:0] address_b,
  input wire [7:0] write_b, input wire [71:0] in_b, output logic [71:0] out_b
);
  timeunit 1ns; timeprecision 1ns;

  // Words are {parity of 8 bytes, 8 bytes}, as at the ports.
  localparam int A = $clog2(BITS);
  logic [8:0] memory [BITS/8];

  initial begin
    for (int n = 0; n < BITS / 8; n++) memory[n] = {PARITY[n], CONTENTS[8*n +: 8]};
    out_a = '0;
    out_b = '0;
  end

  // Bits of an address that choose within a word of that width.
  function automatic logic [A-1:0] low_bits(input int width);
    return A'(width < 9 ? width - 1 : width / 9 * 8 - 1);
  endfunction

  function automatic logic [71:0] fetch(input int width, input logic [A-1:0] address);
    logic [A-1:0] first = address & ~low_bits(width);
    logic [71:0] word = '0;
    if (width == 0) return '0;
    if (width < 9) word[7:0] = memory[first[A-1:3]][7:0] >> first[2:0] & 8'((1 << width) - 1);
    else
      for (int n = 0; n < width / 9; n++)
        {word[64+n], word[8*n +: 8]} = memory[first[A-1:3] + (A-3)'(n)];
    return word;
  endfunction

  function automatic logic [71:0] merge(input int width, input logic [71:0] old,
                                        input logic [71:0] value, input logic [7:0] enable);
    if (width < 9) return enable[0] ? value & 72'((1 << width) - 1) : old;
    merge = old;
    for (int n = 0; n < width / 9; n++)
      if (enable[n]) {merge[64+n], merge[8*n +: 8]} = {value[64+n], value[8*n +: 8]};
  endfunction

  wire a_writes = en_a && WRITE_A != 0 && write_a != 0;
  wire b_writes = en_b && WRITE_B != 0 && write_b != 0;
  localparam int WIDTH_A = WRITE_A > READ_A ? WRITE_A : READ_A;
  localparam int WIDTH_B = WRITE_B > READ_B ? WRITE_B : READ_B;
  wire [A-1:0] differ = (address_a ^ address_b) & ~(low_bits(WIDTH_A) | low_bits(WIDTH_B));

  always @(posedge clk_a) begin
    if (a_writes) begin
      logic [A-1:0] first;
      logic [71:0] word;
      first = address_a & ~low_bits(WRITE_A);
      word = merge(WRITE_A, fetch(WRITE_A, address_a), in_a, write_a);
      if (WRITE_A < 9)
        for (int n = 0; n < WRITE_A; n++) memory[first[A-1:3]][first[2:0] + 3'(n)] <= word[n];
      else
        for (int n = 0; n < WRITE_A / 9; n++)
          if (write_a[n]) memory[first[A-1:3] + (A-3)'(n)] <= {word[64+n], word[8*n +: 8]};
    end
    if (en_a && READ_A != 0) begin
      if (reset_a) out_a <= RESET_A;
      else if (b_writes && differ == 0 && MODE_B != "READ_FIRST")
        out_a <= ~fetch(READ_A, address_a);
      else if (!a_writes || MODE_A == "READ_FIRST") out_a <= fetch(READ_A, address_a);
      else if (MODE_A == "WRITE_FIRST")
        out_a <= merge(READ_A, fetch(READ_A, address_a), in_a, write_a);
    end
  end

  always @(posedge clk_b) begin
    if (b_writes) begin
      logic [A-1:0] first;
      logic [71:0] word;
      first = address_b & ~low_bits(WRITE_B);
      word = merge(WRITE_B, fetch(WRITE_B, address_b), in_b, write_b);
      if (WRITE_B < 9)
        for (int n = 0; n < WRITE_B; n++) memory[first[A-1:3]][first[2:0] + 3'(n)] <= word[n];
      else
        for (int n = 0; n < WRITE_B / 9; n++)
          if (write_b[n]) memory[first[A-1:3] + (A-3)'(n)] <= {word[64+n], word[8*n +: 8]};
    end
    if (en_b && READ_B != 0) begin
      if (reset_b) out_b <= RESET_B;
      else if (a_writes && differ == 0 && MODE_A != "READ_FIRST")
        out_b <= ~fetch(READ_B, address_b);
      else if (!b_writes || MODE_B == "READ_FIRST") out_b <= fetch(READ_B, address_b);
      else if (MODE_B == "WRITE_FIRST")
        out_b <= merge(READ_B, fetch(READ_B, address_b), in_b, write_b);
    end
  end
endmodule
