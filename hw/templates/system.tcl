# A system of a Zynq-7000's processors, the accelerator and a DMA for its samples, to a bitstream:
#   vivado -mode batch -source package_ip.tcl
#   vivado -mode batch -source system.tcl
# Give the board's preset (DDR, pins of the processors) as -tclargs BOARD_PART, a name that
# get_board_parts knows; without one they must be set by hand in the block design.
set here [file dirname [file normalize [info script]]]
create_project -force system [file join $here system] -part {{ part }}
if {$argc > 0} {
  set_property board_part [lindex $argv 0] [current_project]
}
set_property ip_repo_paths [file join $here ip] [current_project]
update_ip_catalog
create_bd_design system

set ps [create_bd_cell -type ip -vlnv xilinx.com:ip:processing_system7 ps]
apply_bd_automation -rule xilinx.com:bd_rule:processing_system7 \
  -config [list make_external "FIXED_IO, DDR" apply_board_preset [expr {$argc > 0}]] $ps
set_property -dict [list CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ {{ mhz }} \
  CONFIG.PCW_USE_S_AXI_HP0 1 CONFIG.PCW_USE_FABRIC_INTERRUPT 1 CONFIG.PCW_IRQ_F2P_INTR 1] $ps
create_bd_cell -type ip -vlnv {{ vendor }}:user:{{ name }} core
set dma [create_bd_cell -type ip -vlnv xilinx.com:ip:axi_dma dma]
set_property -dict [list CONFIG.c_include_sg 0 CONFIG.c_include_mm2s_dre 1 \
  CONFIG.c_m_axis_mm2s_tdata_width {{ sample_bits }} CONFIG.c_include_s2mm 1 \
  CONFIG.c_s_axis_s2mm_tdata_width 64] $dma

# Samples in, answers out; the processors reach the registers, and the masters the memory.
connect_bd_intf_net [get_bd_intf_pins dma/M_AXIS_MM2S] [get_bd_intf_pins core/s_axis]
connect_bd_intf_net [get_bd_intf_pins core/m_axis] [get_bd_intf_pins dma/S_AXIS_S2MM]
foreach slave {core/s_axi dma/S_AXI_LITE} {
  apply_bd_automation -rule xilinx.com:bd_rule:axi4 \
    -config [list Master /ps/M_AXI_GP0 Slave /$slave Clk_master Auto Clk_slave Auto \
      Clk_xbar Auto] [get_bd_intf_pins $slave]
}
foreach master { {{- masters | join(" ") -}} } {
  apply_bd_automation -rule xilinx.com:bd_rule:axi4 \
    -config [list Master /$master Slave /ps/S_AXI_HP0 Clk_master Auto Clk_slave Auto \
      Clk_xbar Auto] [get_bd_intf_pins ps/S_AXI_HP0]
}
connect_bd_net [get_bd_pins core/interrupt] [get_bd_pins ps/IRQ_F2P]
assign_bd_address
validate_bd_design
save_bd_design

make_wrapper -files [get_files system.bd] -top -import
set_property top system_wrapper [current_fileset]
launch_runs impl_1 -to_step write_bitstream
wait_on_run impl_1
open_run impl_1
report_timing_summary -file [file join $here system_timing.rpt]
report_utilization -file [file join $here system_utilization.rpt]
write_hw_platform -fixed -include_bit -force [file join $here system.xsa]
