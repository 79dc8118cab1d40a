#include "textflag.h"

// func int80(number uint32) (result int32)
TEXT ·int80(SB), NOSPLIT, $0-12
	MOVL number+0(FP), AX
	XORL BX, BX
	XORL CX, CX
	XORL DX, DX
	INT  $0x80
	MOVL AX, result+8(FP)
	RET
