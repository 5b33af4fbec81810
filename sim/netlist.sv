// SPDX-License-Identifier: Apache-2.0
//
// Runs a netlist of the accelerator, of which nothing but the ports is known: clock, reset, input,
// output and watchdog are here.  It calls $finish when the last word came or the watchdog fired.
//
// DUT is the module, CONNECTIONS what its ports are connected to.
//
// Plusargs, of those of testbench.sv: +inputs, +samples, +words, +outputs, +watchdog, +gaps, and
// where WEIGHT_PORT is defined +weights, +weights_bytes, +latency, +stalls.
module netlist #(
  parameter int INPUT_BITS = 8,
  parameter int PORT_BITS = 64
);
  timeunit 1ns; timeprecision 1ns;

  logic clk = 0, rst = 1;
  always #1 clk = !clk;

  logic [INPUT_BITS-1:0] i_payload = '0;
  logic i_valid = 0;
  wire i_ready;
  wire [64:0] o_payload;
  wire o_valid;
  logic o_ready = 0;

`ifdef WEIGHT_PORT
  wire [44:0] weights_ar;
  wire weights_ar_valid, weights_ar_ready, weights_r_valid, weights_r_ready;
  wire [PORT_BITS+2:0] weights_r;
  logic [31:0] latency = 0, stalls = 0;
  axi_ram #(.DATA_BITS(PORT_BITS), .NAME("weights")) weights (
    .clk(clk), .rst(rst), .latency(latency), .stalls(stalls),
    .ar(weights_ar), .ar_valid(weights_ar_valid), .ar_ready(weights_ar_ready),
    .r(weights_r), .r_valid(weights_r_valid), .r_ready(weights_r_ready),
    .aw('0), .aw_valid(1'b0), .aw_ready(), .w('0), .w_valid(1'b0), .w_ready(),
    .b(), .b_valid(), .b_ready(1'b0)
  );
`endif

  `DUT dut (`CONNECTIONS);

  string inputs_name, outputs_name;
  int inputs_file, outputs_file;
  longint unsigned samples = 0, words = 0, watchdog = 200000;
  longint unsigned cycle = 0, sent = 0, received = 0, idle = 0;
  logic [31:0] inference = 0, gaps = 0, noise = 1;
  logic [INPUT_BITS-1:0] next_sample;

  initial begin
    void'($value$plusargs("inputs=%s", inputs_name));
    void'($value$plusargs("outputs=%s", outputs_name));
    void'($value$plusargs("samples=%d", samples));
    void'($value$plusargs("words=%d", words));
    void'($value$plusargs("watchdog=%d", watchdog));
    void'($value$plusargs("gaps=%d", gaps));
    noise = gaps | 1;
`ifdef WEIGHT_PORT
    begin
      string name;
      longint unsigned size = 0;
      void'($value$plusargs("latency=%d", latency));
      void'($value$plusargs("stalls=%d", stalls));
      void'($value$plusargs("weights=%s", name));
      void'($value$plusargs("weights_bytes=%d", size));
      weights.load(name, size);
    end
`endif
    inputs_file = $fopen(inputs_name, "r");
    outputs_file = $fopen(outputs_name, "w");
  end

  wire i_fire = i_valid && i_ready;
  wire o_fire = o_valid && o_ready;
  // xorshift32; its bits decide about pauses, in runs as well as single cycles.
  wire [31:0] noise1 = noise ^ (noise << 13);
  wire [31:0] noise2 = noise1 ^ (noise1 >> 17);
  wire i_pause = gaps != 0 && (noise[0] || noise[8:6] == 0);
  wire o_pause = gaps != 0 && (noise[1] || noise[15:12] == 0);

  always @(posedge clk) begin
    cycle <= cycle + 1;
    noise <= noise2 ^ (noise2 << 5);
    if (cycle == 3) rst <= 0;
    if (!rst) begin
      if (i_fire) i_valid <= 0;
      if ((i_fire || !i_valid) && !i_pause && sent < samples) begin
        if ($fscanf(inputs_file, "%h", next_sample) != 1) $fatal(1, "inputs file is too short");
        i_payload <= next_sample;
        i_valid <= 1;
        sent <= sent + 1;
      end
      o_ready <= !o_pause;
      if (o_fire) begin
        $fwrite(outputs_file, "%h %h %h %h\n", inference, o_payload[64], o_payload[63:0], cycle);
        received <= received + 1;
        if (o_payload[64]) inference <= inference + 1;
      end
      idle <= i_fire || o_fire ? 0 : idle + 1;
      if (received == words || idle >= watchdog) begin
        $fwrite(outputs_file, "end %0d %0d %0d %0d\n", received != words, cycle, sent, received);
        $fclose(outputs_file);
        $finish;
      end
    end
  end
endmodule
