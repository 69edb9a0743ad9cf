/* The embedded model's bytes, as they lie in the repository. */
    .section .rodata
    .balign 64
    .globl hadal_embedded_model_begin
    .globl hadal_embedded_model_end
hadal_embedded_model_begin:
#ifdef HADAL_EMBEDDED_MODEL
    .incbin HADAL_EMBEDDED_MODEL
#endif
hadal_embedded_model_end:
    .byte 0
    .section .note.GNU-stack, "", %progbits
